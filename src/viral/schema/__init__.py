"""The tables: the source of truth."""
