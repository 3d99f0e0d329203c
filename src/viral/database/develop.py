"""Models become a migration: drafted, proven on shadow databases, written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.catalog import differences, summary
from viral.database.draft.plan import draft
from viral.database.draft.steps import steps_of, with_unique_names
from viral.database.drift import (
    ROUNDS,
    catalog_of_models,
    drift_beside,
    listed,
    refuse_drift,
    refuse_rest,
    replay,
)
from viral.database.history import read_history
from viral.database.lint.history import lint_revisions
from viral.database.lint.linter import lint_revision
from viral.database.migrate import MIGRATIONS
from viral.database.scripts import Step, render_script
from viral.database.shadow import Shadow, shadow_database
from viral.errors import BadInput, DraftIncomplete, HistoryBroken, MigrationFailed, StatementFailed
from viral.schema.tables import SCHEMA, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from viral.database.catalog import Catalog
    from viral.database.lint.findings import Finding
    from viral.database.urls import ServerUrl

_SLUG = re.compile(r"[^a-z0-9]+")
_RENAME = re.compile(r"(?P<table>\w+)(\.(?P<column>\w+))?=(?P<name>\w+)")
_FILE = '''"""{subject}."""

from __future__ import annotations

from pathlib import Path

from viral.database.steps import run_script

revision = "{revision}"
down_revision = {parent}
{irreversible}
_SCRIPTS = Path(__file__).with_suffix("")


def upgrade() -> None:
    run_script(_SCRIPTS / "up.sql")
'''
_DOWN = """

def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """What `develop` wrote: the revision, its files, its steps, and what lint says of it."""

    revision: str
    file: Path
    folder: Path
    steps: list[Step]
    irreversible: str | None
    findings: list[Finding] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


async def develop(
    url: ServerUrl,
    *,
    name: str,
    schema: Schema = SCHEMA,
    history: Path = MIGRATIONS,
    renames: Sequence[str] = (),
    is_empty_allowed: bool = False,
    note: Callable[[str], None] = lambda _text: None,
) -> Migration | None:
    """Write the migration that leads from the history to the models; None where none is needed.

    The draft is run on a shadow database and has to give the catalogue of the models; its way
    back has to give the one before. Nothing is written when it does not, and the live database
    is not changed in any case.
    """
    await _refuse_unready(url, history)
    async with shadow_database(url) as shadow:
        note("Comparing the database with its history")
        refuse_drift(await drift_beside(shadow, url, history=history))
        note("Building the models and the history in shadow databases")
        wanted = await catalog_of_models(url, schema)
        await replay(shadow, history=history)
        before = await shadow.catalog()
        if not differences(wanted, before) and not is_empty_allowed:
            return None
        note("Drafting")
        first = await _rename(shadow, renames)
        hints = list(_hints(wanted, await shadow.catalog()))
        up = with_unique_names([*first, *await lead(shadow, wanted)])
        down, irreversible = await _way_back(shadow, before, renames)
    migration = _write(history, name, up, down, irreversible)
    try:
        note("Proving it on a fresh shadow database")
        await prove(url, history=history, wanted=wanted, before=before, migration=migration)
    except BaseException:
        _remove(migration)
        raise
    return Migration(
        revision=migration.revision,
        file=migration.file,
        folder=migration.folder,
        steps=up,
        irreversible=irreversible,
        findings=lint_revisions([read_history(history).revisions[-1]]),
        hints=hints,
    )


async def lead(shadow: Shadow, wanted: Catalog) -> list[Step]:
    """Draft and run on the shadow until it is as wanted; return the steps, or say what is left."""
    steps: list[Step] = []
    for _ in range(ROUNDS):
        actual = await shadow.catalog()
        plan = draft(wanted, actual)
        if not plan.changes:
            break
        found = steps_of(plan.changes)
        try:
            await shadow.run_steps(found)
        except StatementFailed as error:
            raise DraftIncomplete(
                f"A drafted statement does not work: {error.message}",
                hint="Make the change in smaller parts, or write the migration by hand:"
                " `viral migrate dev --create-only`.",
            ) from error
        steps += found
    refuse_rest(summary(differences(wanted, await shadow.catalog())))
    return with_unique_names(steps)


async def prove(
    url: ServerUrl, *, history: Path, wanted: Catalog, before: Catalog, migration: Migration
) -> None:
    """Run the files as a deploy would: up gives the models, down what was there before."""
    async with shadow_database(url) as shadow:
        await migrate.deploy(shadow.url, history=history)
        refuse_rest(summary(differences(wanted, await shadow.catalog())))
        if migration.irreversible is None:
            await migrate.undo(shadow.url, history=history)
            rest = summary(differences(before, await shadow.catalog()))
            if rest:
                raise DraftIncomplete(
                    "The way back does not lead to where it began:\n" + listed(rest)
                )


async def _refuse_unready(url: ServerUrl, history: Path) -> None:
    status = await migrate.status(url, history=history)
    if status.broken:
        raise HistoryBroken(
            "; ".join(status.broken), hint="See `viral migrate status` for each of them."
        )
    if status.half_done is not None:
        raise MigrationFailed(
            f"{status.half_done}.", hint="Finish it first: `viral migrate deploy`."
        )


async def _rename(shadow: Shadow, renames: Sequence[str]) -> list[Step]:
    if not renames:
        return []
    sql = []
    for each in renames:
        found = _RENAME.fullmatch(each)
        if found is None:
            raise BadInput(f"{each!r} is no rename.", hint="Write table.column=name or table=name.")
        kind, column = (
            ("column", f" COLUMN {found['column']}") if found["column"] else ("table", "")
        )
        sql.append(f"-- lint: renaming-{kind}: somebody asked for it by name")
        sql.append(f"ALTER TABLE {found['table']} RENAME{column} TO {found['name']};")
    step = Step(name=f"expand: rename {', '.join(renames)}", sql="\n".join(sql))
    try:
        await shadow.run_steps([step])
    except StatementFailed as error:
        raise BadInput(f"The rename does not work: {error.message}") from error
    return [step]


def _inverse(rename: str) -> str:
    path, name = rename.split("=")
    table, dot, old = path.rpartition(".")
    return f"{table}.{name}={old}" if dot else f"{name}={old}"


async def _way_back(
    shadow: Shadow, before: Catalog, renames: Sequence[str]
) -> tuple[list[Step], str | None]:
    first = await _rename(shadow, [_inverse(each) for each in reversed(renames)])
    try:
        return with_unique_names([*first, *await lead(shadow, before)]), None
    except DraftIncomplete as error:
        return [], error.message.replace("\n", " ").rstrip(".")


def _write(
    history: Path, name: str, up: list[Step], down: list[Step], irreversible: str | None
) -> Migration:
    slug = _SLUG.sub("_", name.lower()).strip("_")
    if not slug:
        raise BadInput(f"{name!r} is no name for a migration.", hint="Use letters and digits.")
    revisions = read_history(history).revisions
    parent = revisions[-1].id if revisions else None
    revision = f"{max((int(each.id) for each in revisions if each.id.isdigit()), default=0) + 1:04}"
    today = datetime.now(UTC).strftime("%Y_%m_%d")
    file = history / "versions" / f"{today}_{revision}_{slug}.py"
    folder = file.with_suffix("")
    subject = slug.replace("_", " ").capitalize()
    folder.mkdir(parents=True)
    _write_script(folder / "up.sql", f"{subject}.", up)
    if irreversible is None:
        _write_script(folder / "down.sql", f"Take back: {subject}.", down)
    reason = f"IRREVERSIBLE = {irreversible!r}\n" if irreversible else ""
    text = _FILE.format(
        subject=subject,
        revision=revision,
        parent=f'"{parent}"' if parent else None,
        irreversible=reason,
    )
    file.write_text(text + (_DOWN if irreversible is None else ""), "utf-8")
    return Migration(revision, file, folder, up, irreversible)


def _write_script(file: Path, subject: str, steps: list[Step]) -> None:
    file.write_text(_without_needless_waivers(render_script(subject, steps)), "utf-8")


def _remove(migration: Migration) -> None:
    migration.file.unlink(missing_ok=True)
    for script in migration.folder.glob("*.sql"):
        script.unlink()
    migration.folder.rmdir()


def _without_needless_waivers(text: str) -> str:
    """Take out the waivers that a draft carries for rules that it does not break."""
    findings = lint_revision({"script": text})
    needless = {each.line for each in findings if each.rule == "unused-waiver"}
    lines = text.splitlines()
    return "\n".join(line for n, line in enumerate(lines, 1) if n not in needless) + "\n"


def _hints(wanted: Catalog, before: Catalog) -> Iterator[str]:
    """Say where a drop and an add look like one rename: only a person can tell."""
    found = [each for each in differences(wanted, before) if each.entry.kind == "column"]
    gone = [each.entry for each in found if each.expected is None]
    came = [each.entry for each in found if each.actual is None]
    for old in gone:
        for new in came:
            if old.place["table"] == new.place["table"] and old.parts["type"] == new.parts["type"]:
                table = str(old.place["table"]).rsplit(".", 1)[-1]
                yield (
                    f"{old.name} goes and {new.name} comes. If that is a rename, draft again with"
                    f" --rename {table}.{old.place['bare']}={new.place['bare']}: the values stay."
                )
