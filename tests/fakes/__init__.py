"""Services outside, as real servers on this machine."""
