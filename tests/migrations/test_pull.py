"""A pulled package builds the database that it was pulled from."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from sqlalchemy.ext.asyncio import AsyncSession

from viral.database.catalog import Catalog, differences, read_catalog
from viral.database.pull.entries import tables_of, without_bookkeeping
from viral.database.pull.files import pull
from viral.errors import AlreadyExists, BadFile, ServerRefused
from viral.postgres.bootstrap import bootstrap
from viral.schema.tables import METADATA, Schema

ROOT = Path(__file__).parents[2]
_numbers = count(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder whose packages can be imported under a name of the test's own."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"pulled_{next(_numbers)}"
    yield tmp_path / name
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
async def empty(cluster: Cluster) -> AsyncIterator[str]:
    """A bootstrapped database without a schema."""
    name = f"pull_target_{next(_numbers)}"
    await cluster.execute_as_admin("postgres", f"CREATE DATABASE {name} OWNER viral_owner")
    await bootstrap(cluster.admin.for_database(name), cluster.secrets)
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def plain(cluster: Cluster) -> AsyncIterator[str]:
    """A database that the product knows nothing of."""
    async with fresh_database(cluster) as name:
        yield name


@pytest.fixture
async def other(cluster: Cluster) -> AsyncIterator[str]:
    """One more such database."""
    async with fresh_database(cluster) as name:
        yield name


@asynccontextmanager
async def fresh_database(cluster: Cluster) -> AsyncIterator[str]:
    name = f"pull_source_{next(_numbers)}"
    await cluster.execute_as_admin("postgres", f"CREATE DATABASE {name}")
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def build(cluster: Cluster, database: str, schema: Schema) -> None:
    connection = await cluster.connect_as_admin(database)
    try:
        async with connection.transaction():
            for statement in schema.statements():
                await connection.execute(statement)
    finally:
        await connection.close()


async def catalog_of(cluster: Cluster, database: str) -> Catalog:
    async with superuser(cluster, database) as connection:
        return without_bookkeeping(await read_catalog(connection))[0]


def columns_in_order(catalog: Catalog) -> dict[str, list[str]]:
    return {entries.table.name: entries.column_names for entries in tables_of(catalog)}


async def assert_clean(folder: Path) -> None:
    """Hold the files to the formatter and the rules of this repository."""
    ruff = [sys.executable, "-m", "ruff"]
    for verb in (["format", "--check"], ["check"]):
        run = [*ruff, *verb, "--config", str(ROOT / "pyproject.toml"), str(folder)]
        done = await asyncio.to_thread(
            subprocess.run, run, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def load(folder: Path) -> Schema:
    importlib.invalidate_caches()
    schema = importlib.import_module(folder.name).SCHEMA
    assert isinstance(schema, Schema)
    return schema


async def test_our_own_schema_pulls_to_an_equal_database(
    cluster: Cluster, module_database: str, empty: str, folder: Path
) -> None:
    pulled = await pull(cluster.url("viral_migrator", module_database), folder)
    await build(cluster, empty, load(folder))

    expected, actual = await catalog_of(cluster, module_database), await catalog_of(cluster, empty)
    assert [] == [str(difference) for difference in differences(expected, actual)]
    assert columns_in_order(expected) == columns_in_order(actual)
    assert len(METADATA.tables) == len(pulled.tables)
    await assert_clean(folder)


ONE_OF_EVERYTHING = """
CREATE SCHEMA "Other Things";
GRANT USAGE ON SCHEMA "Other Things" TO viral_app, viral_owner, viral_backup;
COMMENT ON SCHEMA "Other Things" IS 'All the rest';
CREATE EXTENSION btree_gist;
CREATE EXTENSION citext WITH SCHEMA "Other Things";
CREATE TYPE mood AS ENUM ('good', 'so; so', 'bad');
CREATE TYPE "Other Things"."Size" AS ENUM ('S', 'L');
CREATE TYPE pair AS (one integer, two text);
CREATE DOMAIN score AS numeric(5,2) DEFAULT 0 CONSTRAINT low CHECK (VALUE >= 0);
COMMENT ON TYPE mood IS 'How it feels';
CREATE SEQUENCE tickets START 100 INCREMENT 5 CACHE 3;
GRANT USAGE ON SEQUENCE tickets TO viral_app;
CREATE FUNCTION doubled(n integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT n * 2';
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.note = ':at; ' || now(); RETURN NEW; END $$;
REVOKE ALL ON FUNCTION stamp() FROM PUBLIC;
CREATE TABLE rooms (
  id integer PRIMARY KEY WITH (fillfactor = 80),
  ticket integer NOT NULL DEFAULT nextval('tickets'),
  serial_number serial,
  always bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3 MINVALUE 2 CACHE 4 CYCLE),
  usual smallint GENERATED BY DEFAULT AS IDENTITY,
  during tstzrange NOT NULL,
  room integer,
  feeling mood DEFAULT 'good',
  sizes "Other Things"."Size"[],
  name varchar(40) COLLATE "C" DEFAULT 'it''s 100%: fine',
  mail "Other Things".citext,
  rating score,
  both_of pair,
  document jsonb DEFAULT '{"a": 1}',
  note text CHECK (note ~ ':a\\:b'),
  doubled integer GENERATED ALWAYS AS (doubled(room)) STORED,
  twice integer GENERATED ALWAYS AS (room + room) VIRTUAL,
  address inet, flags bit(3), many integer[], day date, at time(2), span interval,
  CONSTRAINT apart EXCLUDE USING gist (room WITH =, during WITH &&)
    WHERE (room > 0) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT named UNIQUE NULLS NOT DISTINCT (name) INCLUDE (room) DEFERRABLE,
  CONSTRAINT large CHECK (room < 10) NO INHERIT
) WITH (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE TABLE "Other Things".visits (
  room integer, guest uuid, parent uuid,
  CONSTRAINT "the key" PRIMARY KEY (guest),
  CONSTRAINT "in a room" FOREIGN KEY (room) REFERENCES rooms
    MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL (room) DEFERRABLE,
  FOREIGN KEY (parent) REFERENCES "Other Things".visits ON DELETE SET DEFAULT
);
ALTER TABLE rooms ADD COLUMN last_guest uuid REFERENCES "Other Things".visits;
ALTER TABLE rooms ADD CONSTRAINT later CHECK (id > 0) NOT VALID;
ALTER TABLE rooms ADD CONSTRAINT present NOT NULL room NOT VALID;
GRANT REFERENCES ON rooms TO viral_owner;
ALTER TABLE trends ADD COLUMN room integer REFERENCES rooms;
CREATE TABLE parent (one integer, CONSTRAINT positive CHECK (one > 0));
CREATE TABLE child (two integer) INHERITS (parent);
CREATE TABLE of_pair OF pair;
CREATE UNLOGGED TABLE nothing ();
CREATE TABLE days (day date NOT NULL, what text, PRIMARY KEY (day)) PARTITION BY RANGE (day);
CREATE INDEX days_what ON days (what);
CREATE TABLE days_2025 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE INDEX rooms_partial ON rooms (room DESC NULLS LAST, name text_pattern_ops)
  INCLUDE (day) WHERE (note <> ':x');
CREATE INDEX rooms_expression ON rooms (lower(name), ((document ->> 'a')) DESC);
CREATE INDEX rooms_brin ON rooms USING brin (day) WITH (pages_per_range = 64);
CREATE INDEX rooms_gin ON rooms USING gin (document jsonb_path_ops, many);
CREATE UNIQUE INDEX rooms_once ON rooms (ticket) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX rooms_whole ON rooms (usual);
ALTER INDEX rooms_expression ALTER COLUMN 1 SET STATISTICS 300;
ALTER TABLE rooms CLUSTER ON rooms_whole;
ALTER TABLE rooms REPLICA IDENTITY USING INDEX rooms_whole;
ALTER TABLE parent REPLICA IDENTITY FULL;
ALTER TABLE rooms ALTER note SET STORAGE EXTERNAL, ALTER note SET COMPRESSION pglz,
  ALTER name SET STATISTICS 500, ALTER day SET (n_distinct = 5);
CREATE STATISTICS rooms_statistics (dependencies) ON room, day FROM rooms;
ALTER TABLE rooms ENABLE ROW LEVEL SECURITY;
CREATE POLICY narrow ON rooms AS RESTRICTIVE FOR UPDATE TO viral_app
  USING (room = 1) WITH CHECK (room = ANY (ARRAY[1, 2]));
CREATE POLICY silent ON rooms TO viral_backup, viral_app USING (room > 0);
CREATE POLICY written ON rooms FOR INSERT WITH CHECK (note <> '');
COMMENT ON POLICY narrow ON rooms IS 'Only one';
GRANT SELECT, INSERT ON rooms TO viral_backup WITH GRANT OPTION;
GRANT UPDATE (room, note), SELECT (id) ON rooms TO viral_app;
GRANT UPDATE (day) ON rooms TO viral_app WITH GRANT OPTION;
REVOKE DELETE ON rooms FROM viral_admin;
GRANT MAINTAIN, TRUNCATE ON "Other Things".visits TO PUBLIC;
CREATE TRIGGER stamp BEFORE UPDATE OF room ON rooms FOR EACH ROW
  WHEN (NEW.room > 1) EXECUTE FUNCTION stamp();
CREATE TRIGGER asleep BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE rooms DISABLE TRIGGER asleep;
CREATE RULE quiet AS ON DELETE TO parent DO INSTEAD NOTHING;
CREATE VIEW guests WITH (security_invoker = on) AS
  SELECT v.guest, r.name FROM "Other Things".visits AS v JOIN rooms AS r ON r.id = v.room;
GRANT SELECT ON guests TO viral_readonly;
CREATE VIEW "all guests" AS SELECT count(*) AS many FROM guests;
ALTER VIEW guests OWNER TO viral_owner;
COMMENT ON COLUMN guests.name IS 'Of the room';
CREATE MATERIALIZED VIEW totals AS SELECT feeling, count(*) FROM rooms GROUP BY feeling;
CREATE UNIQUE INDEX totals_once ON totals (feeling);
COMMENT ON TABLE rooms IS E'Rooms with a "view".\\nAnd \\\\ a second line.';
COMMENT ON COLUMN rooms.note IS 'Words, 100% {free}: of everything that anybody might ever want'
  ' to say about this room, its view, its bed, its guests and their dogs';
COMMENT ON CONSTRAINT named ON rooms IS 'Once';
COMMENT ON INDEX rooms_brin IS 'Small';
COMMENT ON FUNCTION doubled(integer) IS 'Two times';
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO viral_readonly;
"""


async def test_one_of_everything_pulls_to_an_equal_database(
    cluster: Cluster, database_name: str, empty: str, folder: Path
) -> None:
    await cluster.execute_as_admin(database_name, ONE_OF_EVERYTHING)

    pulled = await pull(cluster.admin.for_database(database_name), folder)
    await build(cluster, empty, load(folder))

    expected, actual = await catalog_of(cluster, database_name), await catalog_of(cluster, empty)
    assert [] == [str(difference) for difference in differences(expected, actual)]
    assert columns_in_order(expected) == columns_in_order(actual)
    assert {
        "viral.alembic_version is bookkeeping and left out",
        "viral.migrations is bookkeeping and left out",
        "public.analytics_snapshots is pulled without its partitions",
        "public.api_usage is pulled without its partitions",
        "public.system_metrics is pulled without its partitions",
        "public.child has no primary key: it is a Table, not a class",
        "public.days is pulled without its partitions",
        "public.nothing has no primary key: it is a Table, not a class",
        "public.of_pair has no primary key: it is a Table, not a class",
        "public.parent has no primary key: it is a Table, not a class",
    } == set(pulled.notes)
    await assert_clean(folder)


# As Prisma 7 writes it.
PRISMA = """
CREATE TYPE "UserRole" AS ENUM ('ADMIN', 'MEMBER');
CREATE TABLE "tenants" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "monthlyQuota" INTEGER NOT NULL DEFAULT 10,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "tenants_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "users" (
    "id" TEXT NOT NULL,
    "clerkId" TEXT NOT NULL,
    "tenantId" TEXT NOT NULL,
    "role" "UserRole" NOT NULL DEFAULT 'MEMBER',
    "metadata" JSONB,
    "rate" DECIMAL(10,4) NOT NULL DEFAULT 0,
    CONSTRAINT "users_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL
);
CREATE UNIQUE INDEX "users_clerkId_key" ON "users"("clerkId");
CREATE INDEX "users_tenantId_idx" ON "users"("tenantId");
ALTER TABLE "users" ADD CONSTRAINT "users_tenantId_fkey" FOREIGN KEY ("tenantId")
  REFERENCES "tenants"("id") ON DELETE CASCADE ON UPDATE CASCADE;
"""


async def test_a_database_that_prisma_made_pulls_to_models_that_work(
    cluster: Cluster, plain: str, other: str, folder: Path
) -> None:
    await cluster.execute_as_admin(plain, PRISMA)

    pulled = await pull(cluster.admin.for_database(plain), folder)
    schema = load(folder)
    await build(cluster, other, schema)
    expected, actual = await catalog_of(cluster, plain), await catalog_of(cluster, other)

    assert [] == [str(difference) for difference in differences(expected, actual)]
    assert ["public._prisma_migrations is bookkeeping and left out"] == pulled.notes
    assert schema.owner is None
    await assert_clean(folder)


async def test_pulled_models_store_and_find_rows(
    cluster: Cluster, plain: str, other: str, folder: Path
) -> None:
    await cluster.execute_as_admin(plain, PRISMA)
    await pull(cluster.admin.for_database(plain), folder)
    schema, models = load(folder), importlib.import_module(f"{folder.name}.models")
    await cluster.execute_as_admin(other, *schema.before)
    written_at = datetime(2026, 1, 1, 12, 30, 15, 123_000)  # noqa: DTZ001 - as Prisma keeps it

    async with superuser(cluster, other) as connection:
        await connection.run_sync(schema.metadata.create_all)
        session = AsyncSession(connection)
        session.add(models.Tenant(id="t1", name="One", updated_at=written_at))
        await session.flush()
        session.add(models.User(id="u1", clerk_id="c1", tenant_id="t1", metadata_={"a": [1]}))
        await session.flush()
        session.expunge_all()
        user = await session.get_one(models.User, "u1")
        tenant = await session.get_one(models.Tenant, user.tenant_id)
        await session.close()

    assert ("MEMBER", {"a": [1]}, Decimal(0)) == (user.role, user.metadata_, user.rate)
    assert (10, written_at) == (tenant.monthly_quota, tenant.updated_at)


LONG = "x" * 63
HOSTILE = rf"""
CREATE TABLE "Weird ""Table" (
  "select" integer PRIMARY KEY, "has space" text, "1st" text, "größe" text, "日本" text,
  "{LONG}" date, metadata text, registry text, class text, text text DEFAULT now()::text,
  date date, str varchar(3), __tablename__ text, "a.b" integer UNIQUE, "aB" text, a_b text,
  "%s" text CHECK ("%s" ~ ':x%(y)s'),
  "back\slash" text, "it's" text, "_" text, "mapped_column" timestamptz DEFAULT now()
);
COMMENT ON TABLE "Weird ""Table" IS 'It''s ""quoted"" and ends in \';
CREATE TABLE "{LONG}" (id integer PRIMARY KEY, weird integer REFERENCES "Weird ""Table" ("a.b"));
CREATE TABLE policy (id uuid PRIMARY KEY);
CREATE TABLE policies (id uuid PRIMARY KEY);
CREATE TABLE base (id uuid PRIMARY KEY, policy uuid REFERENCES policy);
CREATE TABLE "class" (id uuid PRIMARY KEY, "next" uuid REFERENCES "class");
CREATE TABLE tree (id uuid PRIMARY KEY, code text, above text);
CREATE UNIQUE INDEX ON tree (code);
ALTER TABLE tree ADD FOREIGN KEY (above) REFERENCES tree (code);
CREATE TABLE "😀" (id uuid PRIMARY KEY);
CREATE TABLE no_key ("has space" text NOT NULL, "日本" integer DEFAULT 1);
CREATE TYPE "Policy" AS ENUM ('a"b', 'c''d', '');
CREATE TYPE empty AS ENUM ();
ALTER TABLE no_key ADD kind "Policy" DEFAULT 'a"b', ADD none empty;
CREATE SCHEMA "a.b";
CREATE TABLE "a.b".policy (id uuid PRIMARY KEY, other uuid REFERENCES policy);
CREATE TABLE below (id uuid PRIMARY KEY, other uuid REFERENCES "a.b".policy);
"""


async def test_hostile_names_pull_to_an_equal_database(
    cluster: Cluster, plain: str, other: str, folder: Path
) -> None:
    await cluster.execute_as_admin(plain, HOSTILE)

    await pull(cluster.admin.for_database(plain), folder)
    await build(cluster, other, load(folder))

    expected, actual = await catalog_of(cluster, plain), await catalog_of(cluster, other)
    assert [] == [str(difference) for difference in differences(expected, actual)]
    assert columns_in_order(expected) == columns_in_order(actual)


async def test_what_cannot_be_written_is_said(cluster: Cluster, plain: str, folder: Path) -> None:
    await cluster.execute_as_admin(
        plain,
        """
        CREATE FOREIGN DATA WRAPPER far;
        CREATE SERVER away FOREIGN DATA WRAPPER far;
        CREATE FOREIGN TABLE there (id integer) SERVER away;
        CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer);
        """,
    )

    pulled = await pull(cluster.admin.for_database(plain), folder)

    assert [
        "aggregate public.total(integer) is not pulled: make it by hand",
        "foreign server away is not pulled: make it by hand",
        "foreign table public.there is not pulled: make it by hand",
        "foreign-data wrapper far is not pulled: make it by hand",
    ] == pulled.notes


async def test_an_empty_database_pulls_to_an_empty_schema(
    cluster: Cluster, plain: str, folder: Path
) -> None:
    pulled = await pull(cluster.admin.for_database(plain), folder)

    schema = load(folder)
    assert ([], [], []) == (pulled.tables, list(schema.before), list(schema.after))
    await assert_clean(folder)


async def test_a_database_that_is_not_there_leaves_no_folder(
    cluster: Cluster, folder: Path
) -> None:
    with pytest.raises(ServerRefused, match="there is no database nowhere"):
        await pull(cluster.admin.for_database("nowhere"), folder)

    assert not folder.exists()


async def test_a_folder_with_files_is_left_alone_unless_forced(
    cluster: Cluster, plain: str, folder: Path
) -> None:
    url = cluster.admin.for_database(plain)
    await cluster.execute_as_admin(plain, "CREATE TABLE one (id integer PRIMARY KEY)")
    await pull(url, folder)
    (folder / "notes.txt").write_text("mine")
    await cluster.execute_as_admin(plain, "ALTER TABLE one RENAME TO two")

    with pytest.raises(AlreadyExists, match="not empty"):
        await pull(url, folder)
    before = {path.name for path in (folder / "models").glob("*.py")}
    await pull(url, folder, force=True)
    after = {path.name for path in (folder / "models").glob("*.py")}

    assert {"__init__.py", "base.py", "one.py"} == before
    assert {"__init__.py", "base.py", "two.py"} == after
    assert (folder / "notes.txt").read_text() == "mine"


async def test_models_of_somebody_else_stay_where_they_are(
    cluster: Cluster, plain: str, folder: Path
) -> None:
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "mine.py").write_text("")

    await pull(cluster.admin.for_database(plain), folder, force=True)

    assert (folder / "models" / "mine.py").exists()


async def test_a_file_in_the_place_of_the_folder_is_named(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BadFile, match="is a file"):
        await pull(cluster.admin, tmp_path / "file")


async def test_a_folder_that_python_cannot_import_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(BadFile, match="cannot be called 'my-shop'"):
        await pull(cluster.admin, tmp_path / "my-shop")
