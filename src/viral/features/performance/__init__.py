"""Results of videos: read from files, stored, compared with predictions."""
