"""`viral format`: one canonical form of the schema's files."""
