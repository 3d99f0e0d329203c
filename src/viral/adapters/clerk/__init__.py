"""Clerk, for installations that let it sign their people in."""
