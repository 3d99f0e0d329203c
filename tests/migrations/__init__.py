"""Migrations: drafted, carried out, interrupted, taken back."""
