"""The steps of a revision: how its file declares them, and how one is carried out.

A revision's `upgrade()` and `downgrade()` declare; nothing runs while they do. A step of SQL is a
transaction, or a single statement outside of any. A step in Python owns its transactions and can
be run again from its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.database.backfill import (
    refuse_open_transaction,
    rls_suspended,
    validate_constraint,
)
from viral.database.lock_patience import LOCK_TIMEOUT_CONCURRENTLY, patiently
from viral.database.owner import act_as_owner, send
from viral.database.scripts import Risk, Step, parse_script
from viral.errors import BadScript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

# What is at work, how much of it is done, and how much there is.
Progress = Callable[[str, int, int | None], None]
StepFunction = Callable[["AsyncConnection", Progress], Awaitable[None]]
# Runs in the step's own transaction where it has one, so that both are kept or neither.
Count = Callable[[], Awaitable[None]]

_NAME = r'(?P<name>[\w.$"]+)'
_CREATE_INDEX = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s+ON\s+"
    r'(?:ONLY\s+)?(?P<table>[\w.$"]+)',
    re.IGNORECASE,
)
_DROP_INDEX = re.compile(
    rf"DROP\s+INDEX\s+CONCURRENTLY\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.IGNORECASE
)
_ADD_VALUE = re.compile(
    rf"ALTER\s+TYPE\s+{_NAME}\s+ADD\s+VALUE\s+(?:IF\s+NOT\s+EXISTS\s+)?'(?P<value>(?:[^']|'')+)'",
    re.IGNORECASE,
)
_VALIDATE = re.compile(
    rf'ALTER\s+TABLE\s+{_NAME}\s+VALIDATE\s+CONSTRAINT\s+(?P<constraint>[\w$"]+)\s*;?\s*',
    re.IGNORECASE,
)
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")

_INDEX = """
SELECT i.indexrelid::regclass::text AS name, i.indisvalid AS is_valid
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(:table) AND c.relname = (parse_ident(:name))[1]
"""
_VALUE = """
SELECT true FROM pg_enum WHERE enumtypid = to_regtype(:name) AND enumlabel = :value
"""


@dataclass(frozen=True, slots=True)
class PythonStep:
    """A step that SQL alone cannot say, such as a backfill."""

    name: str
    function: StepFunction
    risks: tuple[Risk, ...] = ()


AnyStep = Step | PythonStep
_declared: ContextVar[list[AnyStep]] = ContextVar("declared")


def run_script(path: Path) -> None:
    """Declare the steps of a script; for `upgrade()` and `downgrade()`."""
    try:
        script = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScript(
            f"The script {path} cannot be read.", hint="Restore it from version control."
        ) from error
    _declared.get().extend(parse_script(script, name=path.stem))


def run_step(name: str, function: StepFunction) -> None:
    """Declare a step in Python; for `upgrade()` and `downgrade()`."""
    _declared.get().append(PythonStep(name, function))


def declared_by(declare: Callable[[], None]) -> list[AnyStep]:
    """Return the steps that a revision's `upgrade` or `downgrade` declares."""
    steps: list[AnyStep] = []
    token = _declared.set(steps)
    try:
        declare()
    finally:
        _declared.reset(token)
    return steps


async def carry_out(
    connection: AsyncConnection, step: AnyStep, *, count: Count, progress: Progress
) -> None:
    """Run a step and count it."""
    if isinstance(step, Step) and step.is_transactional and not _validated(step):
        async with _sight(connection, step):
            return await patiently(lambda: _in_transaction(connection, step, count))
    if isinstance(step, PythonStep):
        await step.function(connection, progress)
        refuse_open_transaction(connection)
    elif found := _validated(step):
        await validate_constraint(connection, found["name"], found["constraint"])
    else:
        await patiently(lambda: _outside(connection, step))
    # The step may have become another role.
    await act_as_owner(connection)
    async with connection.begin():
        await count()
    return None


@asynccontextmanager
async def _sight(connection: AsyncConnection, step: Step) -> AsyncIterator[None]:
    """Let a step see the rows that it names."""
    if not step.in_sight:
        yield
        return
    async with rls_suspended(connection, *step.in_sight):
        yield


async def _in_transaction(connection: AsyncConnection, step: Step, count: Count) -> None:
    async with connection.begin():
        # Opens the transaction: the driver's own call below would not.
        await connection.execute(text("SET LOCAL ROLE viral_owner"))
        # The driver stumbles over a message without a statement.
        if _bare(step):
            await send(connection, step.sql)
        # The script may have become another role.
        await connection.execute(text("SET LOCAL ROLE viral_owner"))
        await count()


async def _outside(connection: AsyncConnection, step: Step) -> None:
    if _CONCURRENTLY.search(_bare(step)):
        await send(connection, f"SET lock_timeout = '{LOCK_TIMEOUT_CONCURRENTLY}'")
    if not await _is_done(connection, _bare(step)):
        await send(connection, step.sql)


async def _is_done(connection: AsyncConnection, statement: str) -> bool:
    """Tell whether an interrupted run did this already; drop what it left unusable."""
    if found := _CREATE_INDEX.match(statement):
        async with connection.begin():
            index = (await connection.execute(text(_INDEX), found.groupdict())).one_or_none()
        if index is not None and not index.is_valid:
            await send(connection, f"DROP INDEX CONCURRENTLY {index.name}")
        return index is not None and index.is_valid
    async with connection.begin():
        if found := _DROP_INDEX.match(statement):
            query = text("SELECT to_regclass(:name) IS NULL")
            return bool(await connection.scalar(query, {"name": found["name"]}))
        if found := _ADD_VALUE.match(statement):
            value = found["value"].replace("''", "'")
            return bool(
                await connection.scalar(text(_VALUE), {"name": found["name"], "value": value})
            )
    return False


def _validated(step: Step) -> re.Match[str] | None:
    """Find a step that is one VALIDATE CONSTRAINT: it has to see every row."""
    return _VALIDATE.fullmatch(_bare(step))


def _bare(step: Step) -> str:
    return _COMMENT.sub("", step.sql).strip()
