"""Viral Dashboard."""
