"""The REST API for programs in Python: `from viral.client import Client`."""

from viral.client.calls import Problem, Unreachable
from viral.client.everything import Client

__all__ = ["Client", "Problem", "Unreachable"]
