"""Learning from results: critique, insight, adjustment."""
