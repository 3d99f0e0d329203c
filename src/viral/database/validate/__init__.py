"""`viral validate`: the rules of the models, and the lint of a live database's catalogue."""
