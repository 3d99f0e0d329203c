"""Backups of the embedded server: sealed, listed, verified, pruned and restored."""
