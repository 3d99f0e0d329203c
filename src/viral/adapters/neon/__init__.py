"""Neon: branches of a database that runs there."""
