"""Scores of videos: from the published effects of a tenant to points with reasons."""
