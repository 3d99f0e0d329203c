"""Running the job queue."""
