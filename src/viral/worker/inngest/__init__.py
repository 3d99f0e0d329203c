"""Inngest as the engine of a worker: what its queues hold goes out, and its calls are served."""
