"""Branches of the database: made, listed, restored, compared and deleted, here or at Neon."""
