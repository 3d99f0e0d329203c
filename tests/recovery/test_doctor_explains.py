"""What an error text means, in the words of PostgreSQL, the pool and Prisma."""

from __future__ import annotations

import asyncpg
import pytest
from clusters import Cluster

from viral.postgres.doctor.explain import explain


async def test_a_violated_key_is_explained_from_the_servers_own_words(
    cluster: Cluster, database_name: str
) -> None:
    admin = await cluster.connect_as_admin(database_name)
    insert = "INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'a@b.c')"
    await admin.execute(insert)

    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await admin.execute(insert)
    await admin.close()
    found = explain(str(caught.value))

    assert found is not None
    assert found.what == "The table users has a row with the same email already."
    assert "ON CONFLICT (email)" in found.steps[0]


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("Unique constraint failed on the fields: (`email`)", "upsert"),
        ("Error: Unique constraint violation (P2002)", "upsert"),
        ("Can't reach database server at `db`:`5432`", "viral doctor --only server"),
        ("Error: Connection pool timeout", "connection_limit=20"),
        ("Timed out fetching a new connection from the connection pool", "connection_limit=20"),
        ("FATAL: sorry, too many clients already", "viral pooler start"),
        ('password authentication failed for user "viral_app"', "viral db url --show"),
        ('prepared statement "__asyncpg_1__" does not exist', "pgbouncer=true"),
        ("VT001", "--tenant"),
    ],
)
def test_the_specifications_errors_are_explained(said: str, fix: str) -> None:
    found = explain(said)

    assert found is not None
    assert fix in " ".join(found.steps)


def test_an_unknown_text_is_not_guessed_at() -> None:
    assert explain("the cat is on the roof") is None
