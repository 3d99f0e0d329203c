"""Clerk: tokens, keys, people and events."""
