"""FastAPI, pydantic and SQLAlchemy on asyncpg, written as their manuals show."""

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import uvicorn
from fastapi import (  # type: ignore[import-not-found]  # in the benchmark's own environment
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
)
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

PEPPER = bytes.fromhex(os.environ["BENCH_PEPPER"])

engine = create_async_engine(
    os.environ["BENCH_URL"].replace("postgresql:", "postgresql+asyncpg:"),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map: ClassVar = {dict[str, Any]: JSONB, list[Any]: JSONB, list[str]: JSONB}


class ApiKey(Base):
    """A key of a program."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    key_hmac: Mapped[bytes]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Generation(Base):
    """A request for concepts."""

    __tablename__ = "generations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    date: Mapped[datetime]
    writer: Mapped[str]
    settings: Mapped[dict[str, Any]]
    is_favorite: Mapped[bool]
    trends: Mapped[list[Any]]

    concepts: Mapped[list["Concept"]] = relationship(order_by="Concept.id")


class Concept(Base):
    """An idea for a short video."""

    __tablename__ = "concepts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    generation_id: Mapped[UUID] = mapped_column(ForeignKey("generations.id"))
    category: Mapped[str]
    title: Mapped[str]
    hook: Mapped[str]
    hook_type: Mapped[str | None]
    script: Mapped[list[Any]]
    caption: Mapped[str]
    hashtags: Mapped[list[str]]
    duration_s: Mapped[int | None]
    post_at: Mapped[datetime | None]
    why_it_works: Mapped[str]
    prompts: Mapped[dict[str, Any]]
    is_favorite: Mapped[bool]


class ConceptOut(BaseModel):
    """A concept as it is sent."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    category: str
    title: str
    hook: str
    hook_type: str | None
    script: list[Any]
    caption: str
    hashtags: list[str]
    duration_s: int | None
    post_at: datetime | None
    why_it_works: str
    prompts: dict[str, Any]
    is_favorite: bool


class GenerationOut(BaseModel):
    """A generation as it is sent."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    date: datetime
    writer: str
    settings: dict[str, Any]
    is_favorite: bool
    trends: list[Any]
    concepts: list[ConceptOut]


class Page(BaseModel):
    """A page of generations."""

    generations: list[GenerationOut]
    next_cursor: str | None


async def get_session() -> AsyncIterator[AsyncSession]:
    """Open a session for a request."""
    async with sessions() as session:
        yield session


async def tenant_session(
    session: Annotated[AsyncSession, Depends(get_session)],
    authorization: Annotated[str, Header()] = "",
) -> AsyncSession:
    """Check the key, and set its tenant for the transaction."""
    key = authorization.removeprefix("Bearer ")
    digest = hmac.new(PEPPER, b"api key " + key.encode(), hashlib.sha256).digest()
    tenant_id = await session.scalar(
        select(ApiKey.tenant_id).where(
            ApiKey.key_hmac == digest,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
    )
    if tenant_id is None:
        raise HTTPException(401, "unknown key")
    is_local = True
    await session.execute(select(func.set_config("app.tenant", str(tenant_id), is_local)))
    return session


@app.get("/api/v1/generations")  # type: ignore[untyped-decorator]  # the same
async def generations(
    session: Annotated[AsyncSession, Depends(tenant_session)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> Page:
    """List the newest generations of the key's tenant."""
    query = (
        select(Generation)
        .options(selectinload(Generation.concepts))
        .order_by(Generation.date.desc(), Generation.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        date, last_id = cursor.split("_")
        place = (datetime.fromisoformat(date), UUID(last_id))
        query = query.where(tuple_(Generation.date, Generation.id) < place)
    found = list(await session.scalars(query))
    next_cursor = None
    if len(found) > limit:
        last = found[limit - 1]
        next_cursor = f"{last.date.isoformat()}_{last.id}"
    page = [GenerationOut.model_validate(each) for each in found[:limit]]
    return Page(generations=page, next_cursor=next_cursor)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
