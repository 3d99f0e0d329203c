"""`viral db` as people and programs use it: what is printed, as a table and as JSON."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster
from shell import Shell, environment_of
from ways import about_the_direct_way

VALUES = """
SELECT '0199f3a0-0000-7000-8000-000000000000'::uuid AS id, 1.50::numeric AS money,
  9007199254740993::bigint AS large, '2026-02-07 10:00+02'::timestamptz AS moment,
  'infinity'::timestamptz AS never, '-infinity'::date AS day,
  '1 mon 2 days 03:00'::interval AS wait, '{"a": [1.10]}'::jsonb AS document,
  '\\x00ff'::bytea AS bytes,
  ARRAY['a', NULL, 'x,y'] AS words,
  ARRAY['{"b": 1}'::jsonb] AS documents, 'NaN'::float8 AS nan, NULL AS nothing, 'NULL' AS word,
  '' AS empty, true AS yes, int4range(1, 3) AS span, 'r'::"char" AS letter, ROW(1, 'a') AS pair
"""


@pytest.fixture(scope="module")
def environment(cluster: Cluster, module_database: str) -> dict[str, str]:
    return environment_of(cluster, module_database)


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    return Shell(environment, tmp_path)


def test_the_connection_test_of_the_specification_works(shell: Shell) -> None:
    answer = shell.viral("db", "execute", "--stdin", stdin="SELECT 1;")

    assert (0, "") == (answer.code, answer.err)
    assert ["?column?", "1", "1 row"] == [line.split(",")[0].strip() for line in lines(answer.out)]


def test_json_keeps_every_value(shell: Shell) -> None:
    answer = shell.viral("db", "execute", VALUES, "--json")

    assert [
        {
            "id": "0199f3a0-0000-7000-8000-000000000000",
            "money": 1.5,
            "large": 9007199254740993,
            "moment": "2026-02-07T08:00:00Z",
            "never": "infinity",
            "day": "-infinity",
            "wait": "1 mon 2 days 03:00:00",
            "document": {"a": [1.1]},
            "bytes": "\\x00ff",
            "words": ["a", None, "x,y"],
            "documents": [{"b": 1}],
            "nan": "nan",
            "nothing": None,
            "word": "NULL",
            "empty": "",
            "yes": True,
            "span": "[1,3)",
            "letter": "r",
            "pair": "(1,a)",
        }
    ] == answer.document
    assert '"money": 1.50' in answer.out


def test_a_table_tells_null_from_text_and_cuts_what_is_long(shell: Shell) -> None:
    text = "SELECT NULL AS a, repeat('x', 200) AS b UNION ALL SELECT 'NULL', E'two\\nlines'"

    answer = shell.viral("db", "execute", text)

    head, first, second, note, count = lines(answer.out)
    assert ["a", "b"] == head.split()
    assert ["NULL", "x" * 59 + "…"] == first.split()
    assert ['"NULL"', r"two\nlines"] == second.split()
    assert "--json" in note
    assert count.startswith("2 rows, ")


def test_one_row_is_shown_whole(shell: Shell) -> None:
    answer = shell.viral("db", "execute", "SELECT repeat('x', 200) AS a, 1 AS b")

    assert "x" * 200 in answer.out


def test_a_value_cannot_command_the_terminal(shell: Shell) -> None:
    answer = shell.viral("db", "execute", r"SELECT E'\x1b[31mred \u202e' AS a")

    assert r"\x1b[31mred \u202e" in answer.out
    assert "\x1b" not in answer.out


def test_several_statements_answer_in_order(shell: Shell) -> None:
    text = "SELECT 1 AS a; SET work_mem = '8MB'; SELECT 2 AS a, 3 AS a"

    table = shell.viral("db", "execute", text)
    document = shell.viral("db", "execute", text, "--json").document

    assert [[{"a": 1}], [], [{"a": 2, "a_2": 3}]] == document
    assert table.out.index("1 row") < table.out.index("SET, ") < table.out.rindex("1 row")


def test_statements_that_answer_alike_are_one_line(shell: Shell) -> None:
    answer = shell.viral("db", "execute", "SET work_mem = '8MB';" * 3000)

    assert ["SET (3,000 times)"] == [line.rpartition(", ")[0] for line in lines(answer.out)]


def test_rows_beyond_the_limit_are_announced(shell: Shell) -> None:
    text = "SELECT generate_series(1, 5) AS n"

    table = shell.viral("db", "execute", text, "--limit", "2")
    answer = shell.viral("db", "execute", text, "--limit", "2", "--json")

    note = "Only the first 2 rows are shown"
    assert note in table.out
    assert note in answer.err
    assert [{"n": 1}, {"n": 2}] == answer.document


def test_a_tenants_rows_are_read_and_written_by_its_name(shell: Shell) -> None:
    shell.viral("tenant", "create", "acme")
    tenant = ("--tenant", "acme")

    unnamed = shell.viral("db", "execute", "SELECT name FROM tenants")
    refused = shell.viral("db", "execute", "UPDATE tenants SET name = 'Acme'", *tenant)
    written = shell.viral("db", "execute", "UPDATE tenants SET name = 'Acme'", *tenant, "--write")
    read = shell.viral("db", "execute", "SELECT name FROM tenants", *tenant, "--json")

    assert (1, 1, 0) == (unnamed.code, refused.code, written.code)
    assert "--tenant SLUG" in unnamed.err
    assert "--write" in refused.err
    assert written.out.startswith("UPDATE 1, ")
    assert [{"name": "Acme"}] == read.document


@pytest.mark.parametrize(
    "content", [b"SELECT 1 AS a", b"\xef\xbb\xbfSELECT\r\n1\r\nAS a;\r\n", b"-- c\nSELECT 1 AS a"]
)
def test_a_file_of_any_editor_is_read(shell: Shell, content: bytes) -> None:
    (shell.folder / "query.sql").write_bytes(content)

    answer = shell.viral("db", "execute", "--file", "query.sql", "--json")

    assert [{"a": 1}] == answer.document


def test_a_large_text_is_one_text(shell: Shell) -> None:
    text = "SELECT length('" + "x" * 1_000_000 + "') AS n"

    answer = shell.viral("db", "execute", "--stdin", "--json", stdin=text)

    assert [{"n": 1_000_000}] == answer.document


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((), b"", "No SQL is given."),
        (("SELECT 1", "--stdin"), b"SELECT 1", "in more than one way"),
        (("--stdin",), b"", "There is no statement to run."),
        (("--stdin",), b"\x7fELF\xff", "not text in UTF-8"),
        (("--stdin",), b"SELECT 1\0", "it is not SQL"),
        (("--file", "nowhere.sql"), b"", "No such file"),
        (("--file", "."), b"", "Is a directory"),
        ((r"\d videos",), b"", "command of psql"),
        (("COMMIT",), b"", "COMMIT cannot be used here"),
        (("SELECT 1", "--tenant", "nobody"), b"", "There is no tenant 'nobody'."),
        (("SELECT 1", "--limit", "0"), b"", "Invalid value for '--limit'"),
    ],
)
def test_what_is_no_sql_is_told_in_a_line(
    shell: Shell, arguments: tuple[str, ...], stdin: bytes, words: str
) -> None:
    answer = shell.viral("db", "execute", *arguments, stdin=stdin)

    assert (1, "") == (answer.code, answer.out)
    assert answer.err.startswith("error: ")
    assert words in answer.err.split("\n")[0]


def test_a_server_that_was_not_prepared_is_told_from_a_wrong_password(shell: Shell) -> None:
    settings = {name: shell.environment[name] for name in ("DATABASE_URL", "DIRECT_URL")}

    answer = shell.viral(
        "db", "execute", "SELECT 1", VIRAL_HOME=str(shell.folder / "home"), **settings
    )

    assert 1 == answer.code
    assert "viral server bootstrap" in answer.err


async def test_ctrl_c_cancels_the_statement_at_the_server(shell: Shell, cluster: Cluster) -> None:
    command = [sys.executable, "-m", "viral", "db", "execute", "SELECT pg_sleep(25), 'ours'"]
    process = subprocess.Popen(command, env=shell.environment, cwd=shell.folder)
    watcher = await cluster.connect_as_admin("postgres")
    try:
        await until(watcher, sleepers=1)
        process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.wait, 20)
        await until(watcher, sleepers=0)
    finally:
        process.kill()
        await watcher.close()

    assert 130 == code


@about_the_direct_way
def test_the_address_hides_its_password_unless_asked(shell: Shell) -> None:
    hidden = shell.viral("db", "url")
    shown = shell.viral("db", "url", "--direct", "--show")
    other = shell.viral("db", "url", "--role", "viral_readonly", "--json").document

    assert hidden.out.startswith("postgresql://viral_app:***@127.0.0.1:")
    assert shell.environment["DIRECT_URL"] + "\n" == shown.out
    assert "" == shown.err
    assert ("viral_readonly", False) == (other["user"], other["pooled"])
    assert ":***@" in other["url"]


@about_the_direct_way
def test_the_address_of_a_pooler_on_any_port_says_that_it_is_one(shell: Shell) -> None:
    pooled = f"{shell.environment['DATABASE_URL']}?pgbouncer=true"

    shown = shell.viral("db", "url", "--show", DATABASE_URL=pooled)

    assert f"{pooled}\n" == shown.out


async def test_the_address_that_is_shown_connects(shell: Shell) -> None:
    arguments = ("db", "url", "--direct", "--role", "viral_readonly", "--show")
    answer = await asyncio.to_thread(shell.viral, *arguments)

    connection = await asyncpg.connect(answer.out.strip())
    user = await connection.fetchval("SELECT current_user")
    await connection.close()

    assert "viral_readonly" == user


def test_a_role_that_is_not_ours_is_named(shell: Shell) -> None:
    answer = shell.viral("db", "url", "--role", "postgres")

    assert 1 == answer.code
    assert "There is no role 'postgres'." in answer.err
    assert "viral_readonly" in answer.err


def test_the_address_of_a_server_that_stands_still_is_printed(
    shell: Shell, cluster: Cluster, tmp_path: Path
) -> None:
    urls = {"DATABASE_URL", "DIRECT_URL"}
    environment = {name: value for name, value in shell.environment.items() if name not in urls}
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in ("secrets.json", "installation.json"):
        content = (cluster.home / name).read_text().replace(str(cluster.admin.port), "1")
        (home / name).write_text(content)
        (home / name).chmod(0o600)

    answer = Shell(environment, tmp_path).viral("db", "url", VIRAL_HOME=str(home))

    assert (0, "postgresql://viral_app:***@127.0.0.1:1/viral\n") == (answer.code, answer.out)
    assert "viral server start" in answer.err


async def test_the_demo_is_made_once(shell: Shell, cluster: Cluster, database_name: str) -> None:
    own = Shell(environment_of(cluster, database_name), shell.folder)

    first = await asyncio.to_thread(own.viral, "db", "seed", "--json")
    second = await asyncio.to_thread(own.viral, "db", "seed", "--json")
    told = await asyncio.to_thread(own.viral, "db", "seed")

    counts = {name: first.document[name] for name in ("concepts", "results", "adjustments")}
    assert all(count > 0 for count in counts.values())
    assert first.document | {"made": False} == second.document
    assert "there already" in told.out


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


async def until(watcher: asyncpg.Connection[asyncpg.Record], *, sleepers: int) -> None:
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'viral_readonly' AND wait_event = 'PgSleep'
    """
    async with asyncio.timeout(20):
        while await watcher.fetchval(query) != sleepers:
            await asyncio.sleep(0.05)
