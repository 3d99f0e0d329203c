"""PostgreSQL seen by its operator."""
