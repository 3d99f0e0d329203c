"""Routes as a tired person would write them: each lets a tenant through in one way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import structlog
from clusters import Cluster, superuser
from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.errors import NotFound
from viral.web.dependencies import Wired
from viral.web.door import OPEN


class Chosen(msgspec.Struct, frozen=True):
    """An id in a body."""

    concept_id: UUID


def weak_routes(cluster: Cluster, database: str) -> list[Any]:
    """Make all of them; some look behind row security, as the superuser."""
    return [*_by_system(), *_by_memory(), *_behind(cluster, database)]


def _by_system() -> list[Any]:
    @get("/api/v1/weak/names")
    async def names(runtime: Wired) -> list[str]:
        async with runtime.system.session_without_tenant() as session:
            return list(await session.scalars(text("SELECT slug FROM tenants")))

    @get("/api/v1/weak/names/{tenant_id:uuid}")
    async def name(runtime: Wired, tenant_id: FromPath[UUID]) -> str:
        async with runtime.system.session_without_tenant() as session:
            found = await session.scalar(
                text("SELECT name FROM tenants WHERE id = :id"), {"id": tenant_id}
            )
        if found is None:
            raise NotFound("There is none.")
        return "known"

    @get("/api/v1/weak/fails")
    async def fails(runtime: Wired) -> str:
        try:
            async with runtime.system.session_without_tenant() as session:
                await session.execute(
                    text("INSERT INTO users (id, email) SELECT id, email FROM users")
                )
        except DBAPIError as error:
            return str(error)
        return ""

    @post("/api/v1/weak/person")
    async def person(
        request: Request[Any, Any, Any], runtime: Wired, data: JSONBody[dict[str, object]]
    ) -> str:
        async with runtime.system.session_without_tenant() as session:
            await session.execute(
                text("UPDATE users SET is_operator = :is WHERE id = :id"),
                {"is": bool(data.get("is_operator")), "id": request.user.user_id},
            )
        return ""

    return [names, name, fails, person]


def _by_memory() -> list[Any]:
    kept: dict[str, str] = {}

    @get("/api/v1/weak/open", opt=OPEN)
    async def is_open() -> str:
        return "come in"

    @get("/api/v1/weak/header")
    async def header(request: Request[Any, Any, Any], runtime: Wired) -> str:
        wanted = request.headers.get("x-tenant-id") or request.user.tenant_id
        async with runtime.app.tenant_session(UUID(str(wanted))) as session:
            return str(await session.scalar(text("SELECT slug FROM tenants")))

    @get("/api/v1/weak/kept")
    async def keep(request: Request[Any, Any, Any]) -> str:
        email = kept.get("email", "")
        kept["email"] = request.user.email
        return email

    @get("/api/v1/weak/logs")
    async def logs(request: Request[Any, Any, Any]) -> str:
        structlog.get_logger().info("asked", token=request.auth)
        return ""

    return [is_open, header, keep, logs]


def _behind(cluster: Cluster, database: str) -> list[Any]:
    @get("/api/v1/weak/count")
    async def count() -> int:
        async with superuser(cluster, database) as admin:
            return int(await admin.scalar(text("SELECT count(*) FROM concepts")))

    @delete("/api/v1/weak/concepts/{concept_id:uuid}")
    async def remove(concept_id: FromPath[UUID]) -> None:
        async with superuser(cluster, database) as admin:
            await admin.execute(text("DELETE FROM concepts WHERE id = :id"), {"id": concept_id})
            await admin.commit()

    @delete("/api/v1/weak/insights/{insight_id:uuid}", status_code=200)
    async def forget(insight_id: FromPath[UUID]) -> int:
        async with superuser(cluster, database) as admin:
            sql = text("DELETE FROM reflexion_insights WHERE id = :id")
            removed = await admin.execute(sql, {"id": insight_id})
            await admin.commit()
            return removed.rowcount

    @post("/api/v1/weak/chosen")
    async def choose(data: JSONBody[Chosen]) -> bool:
        async with superuser(cluster, database) as admin:
            sql = text("SELECT count(*) FROM concepts WHERE id = :id")
            return bool(await admin.scalar(sql, {"id": data.concept_id}))

    return [count, remove, forget, choose]
