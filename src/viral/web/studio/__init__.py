"""Studio: the tables of one tenant in a browser, on this machine alone."""
