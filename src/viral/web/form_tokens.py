"""The proof that a page of ours made a request; programs with a key need none."""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.middleware.csrf import CSRFMiddleware
from litestar.types import Receive, Scope, Send

from viral.web.recognition import bears_token


class FormTokens(CSRFMiddleware):
    """Litestar's check, but for requests with an API key: a browser adds none by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and bears_token(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
