"""Concepts: drafted by a writer, predicted, stored, counted against the quota."""
