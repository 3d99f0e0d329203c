"""The SQL console, the diagram and the migrations of Studio."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

handlers: tuple[HTTPRouteHandler, ...] = ()
