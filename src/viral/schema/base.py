"""What all tables share: naming of constraints, types, keys, timestamps."""

from __future__ import annotations

import secrets
import time
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    Date,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JsonObject = dict[str, object]
JsonList = list[object]
Texts = list[str]

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def uuid7() -> UUID:
    """Make a version 7 UUID: milliseconds since 1970, then 74 random bits (RFC 9562, 5.7)."""
    return UUID(int=_moment() | _spread(secrets.randbits(74)))


def uuid7_run(count: int) -> list[UUID]:
    """Make ids whose order is their position: rows of one batch keep the order they came in."""
    if count == 1:
        return [uuid7()]
    # A hundred thousand at once: the clock and the source of chance are asked once.
    moment, chance = _moment(), secrets.token_bytes(10 * count)
    each = range(0, 10 * count, 10)
    spread = sorted(_spread(int.from_bytes(chance[at : at + 10]) >> 6) for at in each)
    return [UUID(int=moment | bits) for bits in spread]


def _moment() -> int:
    return (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0b10 << 62


def _spread(random: int) -> int:
    """Put 74 random bits into the places that version and variant leave."""
    return (random >> 62) << 64 | random & (1 << 62) - 1


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[object, object]] = {
        UUID: Uuid(),
        str: Text(),
        bytes: LargeBinary(),
        int: Integer(),
        float: Float(53),
        date: Date(),
        datetime: DateTime(timezone=True),
        Decimal: Numeric(10, 4),
        JsonObject: JSONB(),
        JsonList: JSONB(),
        Texts: JSONB(),
    }


class Identified:
    """A row has an id of its own, made in Python."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-10)


class TenantOwned:
    """A row belongs to one tenant, which is the first part of every key."""

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, sort_order=-20
    )


class Created:
    """A row knows when it was made."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class Updated(Created):
    """A row knows when it was last changed through the models."""

    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=91
    )
