"""Edited models become a migration that works on a database with rows, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest
from clusters import Cluster, copy_template, superuser
from factories import fill_every_table, make_tenant

from migrations.edited_models import Case, edited_schema, together
from migrations.edits_of_access import FUNCTIONS, SECURITY
from migrations.edits_of_columns import COLUMNS, TABLES
from migrations.edits_of_keys import CONSTRAINTS, INDEXES, PARTITIONED
from migrations.edits_of_objects import OBJECTS
from migrations.histories import head, multiply_videos
from viral.database import migrate
from viral.database.catalog import Catalog, differences
from viral.database.develop import Migration, develop
from viral.database.drift import catalog_of_models
from viral.database.shadow import catalog_at
from viral.database.urls import ServerUrl
from viral.errors import BadInput, DataLossRefused, DraftIncomplete, MigrationFailed, SchemaDrift
from viral.schema.tables import Schema

# Edits that are made together, in this order; every other one is made alone.
TOGETHER = [
    [
        "a table with all its parts",
        "storage",
        "columns of every kind",
        "wider types",
        "comments",
        "other policies",
        "other bodies and callers",
    ],
    [
        "a policy for another command",
        "indexes more and less",
        "other checks",
        "a renamed table",
        "narrower types that hold all values",
        "another signature",
        "another expression",
    ],
    [
        "a renamed column under an index and checks",
        "a type under a policy and checks",
        "a generated column less",
        "an exclusion",
        "a policy less",
        "another result",
    ],
    [
        "unlogged",
        "other defaults",
        "a column to be filled that is",
        "other privileges",
        "other keys",
        "a function more and one less",
    ],
    [
        "other references",
        "a unique index of rows that hold it",
        "other indexes of the same names",
        "a privilege to pass on",
    ],
    ["parts of a partitioned table", "another primary key", "row security off"],
    [
        "a table less",
        "a column less",
        "a narrower type that cuts values",
        "a column of a partitioned table less",
    ],
    ["a column that must be filled", "a check that rows break", "a key that rows break"],
    [
        "a column to be filled that is not",
        "a reference that rows break",
        "a unique index that rows break",
        "a reference of a partitioned table that rows break",
    ],
]
CASES = [*TABLES, *COLUMNS, *CONSTRAINTS, *INDEXES, *PARTITIONED, *SECURITY, *FUNCTIONS, *OBJECTS]
MORE = """
publishing.py
     model: Mapped[str | None]
+    colour: Mapped[str | None]
"""
OTHER = """
publishing.py
-    model: Mapped[str | None]
+    engine: Mapped[str | None]
"""
_numbers = count(1)


def cases(chosen: Callable[[Case], object]) -> pytest.MarkDecorator:
    """Give every case that is chosen, alone or as one of those that are made together."""
    named = {case.name: case for case in CASES if chosen(case)}
    groups = [[named.pop(name) for name in group] for group in TOGETHER if group[0] in named]
    return pytest.mark.parametrize(
        "case",
        [*(together(*group) for group in groups), *named.values()],
        ids=lambda case: case.name.replace(" ", "-"),
    )


@pytest.fixture(scope="module")
async def template(cluster: Cluster, module_database: str) -> str:
    """A migrated database with rows of two tenants."""
    system = cluster.database("viral_system", module_database)
    tenants = [await make_tenant(system, cluster.secrets, slug=slug) for slug in ("alice", "bob")]
    await system.close()
    async with superuser(cluster, module_database) as admin:
        for tenant in tenants:
            await fill_every_table(admin, tenant)
        await multiply_videos(admin, 2)
    return module_database


@pytest.fixture
async def url(cluster: Cluster, template: str) -> AsyncIterator[ServerUrl]:
    """A copy of that database, for migrations."""
    name = f"edited_{next(_numbers)}"
    await copy_template(cluster, name, template)
    yield cluster.url("viral_migrator", name)
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def drafted(url: ServerUrl, history: Path, schema: Schema, case: Case) -> Migration:
    migration = await develop(
        url, name="edit the models", schema=schema, history=history, renames=case.renames
    )
    assert migration is not None
    return migration


async def edited(url: ServerUrl, history: Path, folder: Path, case: Case) -> Schema:
    """Edit the models; what the case begins with is in the database before."""
    if case.first:
        first = edited_schema(folder, case.first)
        await develop(url, name="begin", schema=first, history=history)
        await migrate.deploy(url, history=history)
    return edited_schema(folder, case.edit)


def files_of(history: Path) -> list[Path]:
    """List what somebody wrote; Python compiles what it loads."""
    return sorted(each for each in history.rglob("*") if "__pycache__" not in each.parts)


def said(expected: Catalog, actual: Catalog) -> list[str]:
    return [str(difference) for difference in differences(expected, actual)]


@cases(lambda case: not case.lost and not case.refused)
async def test_an_edit_becomes_a_migration_up_and_down(
    url: ServerUrl, history: Path, tmp_path: Path, case: Case
) -> None:
    schema = await edited(url, history, tmp_path, case)
    before = await catalog_at(url)

    migration = await drafted(url, history, schema, case)
    await migrate.deploy(url, history=history)

    assert [] == said(await catalog_of_models(url, schema), await catalog_at(url))
    assert set(case.needs) == {finding.rule for finding in migration.findings}
    if case.irreversible:
        assert case.irreversible in str(migration.irreversible)
    else:
        await migrate.undo(url, history=history, accept_data_loss=True)
        assert [] == said(before, await catalog_at(url))


@cases(lambda case: case.lost)
async def test_a_loss_is_counted_over_all_tenants_and_refused_until_somebody_accepts_it(
    url: ServerUrl, history: Path, tmp_path: Path, case: Case
) -> None:
    schema = edited_schema(tmp_path, case.edit)
    before = await catalog_at(url)
    restore_points: list[str] = []

    async def restore_point(name: str) -> str:
        restore_points.append(name)
        assert [] == said(before, await catalog_at(url))
        return "/backups/one"

    migration = await drafted(url, history, schema, case)
    with pytest.raises(DataLossRefused) as refusal:
        await migrate.deploy(url, history=history)
    untouched = await catalog_at(url)
    deployment = migrate.deploy(
        url, history=history, accept_data_loss=True, restore_point=restore_point
    )

    told = refusal.value.message.removeprefix("This would be lost: ").removesuffix(".")
    assert sorted(case.lost.split("; ")) == sorted(told.split("; "))
    assert [] == said(before, untouched)
    assert set(case.needs) == {finding.rule for finding in migration.findings}
    if case.is_hopeless:
        with pytest.raises(MigrationFailed):
            await deployment
    else:
        await deployment
        assert [] == said(await catalog_of_models(url, schema), await catalog_at(url))
    assert [f"before-{migration.revision}"] == restore_points


@cases(lambda case: case.refused)
async def test_what_no_statement_can_do_is_said_and_nothing_is_written(
    url: ServerUrl, history: Path, tmp_path: Path, case: Case
) -> None:
    schema = edited_schema(tmp_path, case.edit)
    files = files_of(history)

    with pytest.raises(DraftIncomplete) as refusal:
        await develop(url, name="edit the models", schema=schema, history=history)

    assert case.refused in refusal.value.message
    assert files == files_of(history)


async def test_what_cannot_be_proven_leaves_no_file(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    hidden = """
tables.py
-SCHEMA = Schema(METADATA, FUNCTIONS)
+SCHEMA = Schema(
+    METADATA,
+    FUNCTIONS,
+    before=["CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS"
+            " 'BEGIN RETURN (SELECT count(*) FROM public.videos); END'"],
+    after=["CREATE MATERIALIZED VIEW totals AS SELECT total() AS number"],
+)
"""
    schema = edited_schema(tmp_path, hidden)
    files = files_of(history)

    with pytest.raises(MigrationFailed, match="would be affected by row-level security"):
        await develop(url, name="x", schema=schema, history=history)

    assert files == files_of(history)


async def test_a_migration_is_a_file_and_its_scripts(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    schema = edited_schema(tmp_path, MORE)

    migration = await develop(url, name="Add the colour!", schema=schema, history=history)

    assert migration is not None
    revision = f"{int(head()) + 1:04}"
    assert (revision, None) == (migration.revision, migration.irreversible)
    assert migration.file.name.endswith(f"_{revision}_add_the_colour.py")
    assert """\
-- Add the colour.

-- step: expand: add public.videos.colour
ALTER TABLE public.videos ADD COLUMN colour text;
""" == (migration.folder / "up.sql").read_text()
    assert """\
-- Take back: Add the colour.

-- step: contract: drop public.videos.colour
-- at risk: values of public.videos.colour: SELECT count(*) FROM public.videos\
 WHERE colour IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.videos DROP COLUMN colour;
""" == (migration.folder / "down.sql").read_text()


async def test_once_deployed_there_is_nothing_to_write(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    schema = edited_schema(tmp_path, MORE)
    await develop(url, name="one", schema=schema, history=history)
    await migrate.deploy(url, history=history)

    assert await develop(url, name="two", schema=schema, history=history) is None


async def test_a_migration_without_statements_is_made_where_somebody_writes_them_by_hand(
    url: ServerUrl, history: Path
) -> None:
    migration = await develop(url, name="by hand", history=history, is_empty_allowed=True)

    assert migration is not None
    assert "-- By hand.\n" == (migration.folder / "up.sql").read_text()


async def test_the_rows_keep_the_values_of_a_renamed_column(
    url: ServerUrl, history: Path, tmp_path: Path, cluster: Cluster
) -> None:
    schema = edited_schema(tmp_path, OTHER)
    query = "SELECT count(DISTINCT {0}) FROM videos WHERE {0} LIKE 'model-%'"

    migration = await drafted(
        url, history, schema, Case("rename", "", renames=["videos.model=engine"])
    )
    await migrate.deploy(url, history=history)
    admin = await cluster.connect_as_admin(url.database)
    there = await admin.fetchval(query.format("engine"))
    await migrate.undo(url, history=history)
    back = await admin.fetchval(query.format("model"))
    await admin.close()

    assert (2, 2) == (there, back)
    assert [] == migration.hints


async def test_what_may_be_a_rename_is_pointed_out(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    schema = edited_schema(tmp_path, OTHER)

    migration = await develop(url, name="x", schema=schema, history=history)

    assert migration is not None
    [hint] = migration.hints
    assert hint.startswith("public.videos.model goes and public.videos.engine comes.")
    assert "--rename videos.model=engine" in hint


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ("videos.model", "'videos.model' is no rename."),
        ("videos.modell=engine", 'The rename does not work: column "modell" does not exist'),
    ],
)
async def test_a_rename_of_nothing_is_refused(
    url: ServerUrl, history: Path, tmp_path: Path, rename: str, message: str
) -> None:
    schema = edited_schema(tmp_path, OTHER)

    with pytest.raises(BadInput) as refusal:
        await develop(url, name="x", schema=schema, history=history, renames=[rename])

    assert refusal.value.message.startswith(message)


async def test_a_name_without_letters_is_refused(url: ServerUrl, history: Path) -> None:
    with pytest.raises(BadInput, match="'!' is no name for a migration"):
        await develop(url, name="!", history=history, is_empty_allowed=True)


async def test_a_database_that_was_changed_past_its_migrations_is_refused(
    url: ServerUrl, history: Path, cluster: Cluster
) -> None:
    await cluster.execute_as_admin(url.database, "ALTER TABLE videos ADD COLUMN colour text")

    with pytest.raises(SchemaDrift, match=r"column public\.videos\.colour: unexpected"):
        await develop(url, name="x", history=history)


async def test_a_function_that_is_made_again_is_never_open_to_everybody(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    [case] = [case for case in FUNCTIONS if case.name == "another result"]
    schema = edited_schema(tmp_path, case.edit)

    migration = await drafted(url, history, schema, case)

    assert 1 == len(migration.steps)
    assert "REVOKE ALL ON FUNCTION viral.heartbeat(uuid) FROM PUBLIC" in migration.steps[0].sql


async def test_a_step_locks_one_table(url: ServerUrl, history: Path, tmp_path: Path) -> None:
    another = """
content.py
     external_id: Mapped[str]
+    colour: Mapped[str | None]
"""
    schema = edited_schema(tmp_path, MORE + another)

    migration = await drafted(url, history, schema, Case("two tables", ""))

    names = ["expand: add public.trends.colour", "expand: add public.videos.colour"]
    assert names == [step.name for step in migration.steps]
