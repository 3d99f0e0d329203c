"""The job queue as those see it who ask for work; who does it stands in `viral.worker`."""
