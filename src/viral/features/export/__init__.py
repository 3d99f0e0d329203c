"""One tenant in a file: taken out whole, and put back with all its ids."""
