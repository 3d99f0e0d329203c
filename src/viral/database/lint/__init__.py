"""What a migration script may not do, or only with a reason."""
