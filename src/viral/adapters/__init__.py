"""The outside world and its local stand-ins."""
