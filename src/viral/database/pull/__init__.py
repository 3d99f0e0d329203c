"""An existing database becomes a package of models."""
