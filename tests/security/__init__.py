"""The checklist of security, line by line: a test carries the id of its line in its name."""
