"""The types of requests, and what is said of all of them."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from viral.features.users.sessions import Identity

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Who sends it, and the token of their session; both None at an open door, a key has no token.
WebRequest = Request[Identity | None, str | None, State]
Connection = ASGIConnection[BaseRouteHandler, Identity | None, str | None, State]
AnyRequest = Request[Any, Any, Any]
