"""What is derived from the models for people and programs outside of Python."""
