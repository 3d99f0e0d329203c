"""What was done to the tables, in order; Alembic loads the revisions by path."""
