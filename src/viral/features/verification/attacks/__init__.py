"""The attacks, one family a file; each is a small function that tries one thing once."""
