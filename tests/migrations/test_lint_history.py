"""Every revision of the product passes the lint, and PostgreSQL agrees with what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.lint.linter import lint_revision
from viral.database.migrate import MIGRATIONS

HISTORY = sorted(path for path in (MIGRATIONS / "versions").iterdir() if any(path.glob("*.sql")))


@pytest.mark.parametrize("folder", HISTORY, ids=lambda path: path.name)
def test_a_revision_breaks_no_rule(folder: Path) -> None:
    scripts = {path.name: path.read_text("utf-8") for path in _upward(folder)}

    findings = lint_revision(scripts)

    assert [] == [str(finding) for finding in findings if not finding.is_waived]


def test_the_first_revision_needs_no_waiver() -> None:
    scripts = {path.name: path.read_text("utf-8") for path in _upward(HISTORY[0])}

    assert [] == lint_revision(scripts)


def _upward(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.sql")) if path.name != "down.sql"]


@pytest.mark.parametrize(
    ("rule", "refusal", "sql"),
    [
        (
            "rows-out-of-sight",
            "row-level security",
            "UPDATE videos SET status = 'queued' WHERE true",
        ),
        ("rows-out-of-sight", "row-level security", "INSERT INTO trends (id) VALUES (NULL)"),
        (
            "needs-no-transaction",
            "cannot run inside a transaction",
            "CREATE INDEX CONCURRENTLY i ON videos (tenant_id)",
        ),
        ("needs-no-transaction", "cannot run inside a transaction", "VACUUM videos"),
    ],
)
async def test_postgresql_refuses_it_as_well(
    admin: AsyncConnection, rule: str, refusal: str, sql: str
) -> None:
    await admin.execute(text("SET LOCAL ROLE viral_owner"))
    await admin.execute(text("SET LOCAL row_security = off"))

    assert [rule] == [finding.rule for finding in lint_revision({"change.sql": sql})]
    with pytest.raises(DBAPIError, match=re.escape(refusal)):
        await admin.execute(text(sql))


async def test_postgresql_validates_no_reference_out_of_sight(admin: AsyncConnection) -> None:
    key = "FOREIGN KEY (tenant_id, concept_id) REFERENCES concepts (tenant_id, id)"
    add = f"ALTER TABLE videos ADD CONSTRAINT again {key} NOT VALID"
    validate = "ALTER TABLE videos VALIDATE CONSTRAINT again"
    await admin.execute(text("SET LOCAL ROLE viral_owner"))
    await admin.execute(text("SET LOCAL row_security = off"))
    await admin.execute(text(add))

    findings = lint_revision({"add.sql": add, "validate.sql": validate})

    assert {"rows-out-of-sight"} == {finding.rule for finding in findings}
    with pytest.raises(DBAPIError, match="row-level security"):
        await admin.execute(text(validate))
