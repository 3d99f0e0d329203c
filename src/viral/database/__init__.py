"""PostgreSQL seen by a client."""
