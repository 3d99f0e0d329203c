"""Claude's adapters, over the real client library and a local server that speaks the contract."""
