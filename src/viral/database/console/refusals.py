"""What the server refuses, in words for whoever typed it.

DETAIL is left out: it may quote rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.console.answers import Refusal
from viral.database.faults import sqlstate_of

if TYPE_CHECKING:
    import asyncpg

_PER_RUN = "The console runs one statement in a transaction of its own, and ends it itself."
_WORDS = {
    "25006": ("Nothing may be changed here: the text runs in a read-only transaction.", ""),
    "25001": ("This cannot run inside a transaction.", _PER_RUN),
    "25P01": ("This needs a transaction of its own making.", _PER_RUN),
    "26000": ("There is no prepared statement of this name.", _PER_RUN),
    "55P03": ("Another session holds the lock.", "Try again when it is done."),
    "VT001": ("The text took the tenant out of its own session.", "Leave app.tenant as it is."),
    "VT002": (
        "The text named another tenant, or one of an earlier run.",
        "Leave app.tenant as it is. To see another tenant, open it with the switch above.",
    ),
}
_SEVERAL = "multiple commands"
_DENIED_TABLE = re.compile(r"permission denied for (?:table|view|relation) (?P<table>\S+)")
_READABLE = """
SELECT has_table_privilege(c.oid, 'SELECT') AS is_whole,
       array_agg(quote_ident(a.attname) ORDER BY a.attnum)
         FILTER (WHERE has_column_privilege(c.oid, a.attnum, 'SELECT')) AS readable
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relname = $1 AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.oid
"""
# They would end the transaction, outlive it, or need a stream of data beside the text.
_WITHHELD = {
    **dict.fromkeys(
        ("ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "ROLLBACK", "SAVEPOINT", "START"), _PER_RUN
    ),
    "PREPARE": "A statement that outlives its run is of no use: each run has its own connection.",
    "COPY": "Rows go out by Export. Files come in through `viral performance import`, or psql.",
}


def withheld(verb: str) -> Refusal | None:
    """Say why a text is not even sent, by its first word.

    The words are for the reader's sake. What would follow from them the server prevents: one
    statement a message, and a context that is looked at afterwards.
    """
    if verb not in _WITHHELD:
        return None
    return Refusal(f"{verb} cannot be used here.", _WITHHELD[verb])


async def refusal_of(
    error: BaseException,
    *,
    connection: asyncpg.Connection,
    seconds: float,
    offset: int = 0,
) -> Refusal:
    """Explain an error; `offset` is how many characters of ours stand before the text."""
    state = sqlstate_of(error)
    said = str(getattr(error, "message", None) or error)
    position = getattr(error, "position", None)
    place = int(position) - 1 - offset if position else None
    message, hint = _words(state, said, seconds)
    if state == "42501" and (found := _DENIED_TABLE.search(said)):
        hint = await _readable_columns(connection, found["table"])
    hint = hint or str(getattr(error, "hint", None) or "")
    return Refusal(message, hint, state, place if place is not None and place >= 0 else None)


def _words(state: str | None, said: str, seconds: float) -> tuple[str, str]:
    if state == "25001" and "read-write" in said:
        return _WORDS["25006"]
    if state in _WORDS:
        return _WORDS[state]
    if state == "42601" and _SEVERAL in said:
        return (
            "One statement at a time: a semicolon may stand at the end only.",
            "Select the statement you mean, and run the selection.",
        )
    if state == "57014" and "statement timeout" in said:
        return too_long(seconds)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "?")) else "."), ""


def too_long(seconds: float) -> tuple[str, str]:
    """Say that the time was up, and what to do."""
    return (
        f"It took longer than {seconds:g} s and was ended.",
        "Set a longer time, up to a minute, or ask for less: the plan shows where it goes.",
    )


async def _readable_columns(connection: asyncpg.Connection, table: str) -> str:
    """Name what may be read of a table whose secrets are withheld."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
    row = await connection.fetchrow(_READABLE, table.strip('"'))
    if row is None or not row["readable"]:
        return "The table is not open to this role."
    if row["is_whole"]:
        return "This role may read the table, and do nothing else with it."
    columns = ", ".join(row["readable"])
    return f"Secret columns are withheld. What may be read: SELECT {columns} FROM {table}"  # noqa: S608 - to be read by people
