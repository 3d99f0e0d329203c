"""SQL that people type in a browser: what it may do, what it did, and how it was planned."""
