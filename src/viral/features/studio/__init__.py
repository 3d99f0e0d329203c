"""Studio: every table of the product, seen and changed row by row as the app's role."""
