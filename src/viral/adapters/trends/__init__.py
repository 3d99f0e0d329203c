"""Sources of trends outside: one module a vendor, over the one outgoing client."""
