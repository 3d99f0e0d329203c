"""What routes may ask for by name: the runtime, who is asking, a transaction of their tenant."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeAlias

from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotSignedIn
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.web.requests import WebRequest

Wired: TypeAlias = NamedDependency[SkipValidation[Runtime]]
Person: TypeAlias = NamedDependency[SkipValidation[Identity]]
Transaction: TypeAlias = NamedDependency[SkipValidation[AsyncSession]]


def provide_runtime(state: State) -> Runtime:
    runtime = state.runtime
    assert isinstance(runtime, Runtime)
    return runtime


def provide_identity(request: WebRequest) -> Identity:
    if request.user is None:
        raise NotSignedIn("You are not signed in.")
    return request.user


async def provide_session(state: State, identity: Person) -> AsyncGenerator[AsyncSession, None]:
    """Open one transaction of the person's tenant; it is committed before the answer is sent."""
    # Not by name: Litestar starts tasks for two dependencies that could be had at once.
    runtime = provide_runtime(state)
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        yield session


DEPENDENCIES = {
    "runtime": Provide(provide_runtime, sync_to_thread=False),
    "identity": Provide(provide_identity, sync_to_thread=False),
    "session": Provide(provide_session),
}
