"""Experiments: ways to open a video, compared across posts until one is better beyond luck."""
