"""Rules that every table keeps: in the models, and in the catalogue of a migrated database."""

from __future__ import annotations

import pytest
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table, UniqueConstraint, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.schema.base import Base, TenantOwned
from viral.schema.security import APP, OWNER, READONLY, SYSTEM, WORKER, security_of
from viral.schema.tables import METADATA

TABLES = METADATA.sorted_tables
# Looked up before a tenant is known; each class says so.
KEYED_BY_ID = {"job_queue", "sessions", "api_keys", "webhook_events"}
# Global tables that point at a tenant: a person's first tenant, the contexts themselves.
GLOBAL = {"tenants", "users", "tenant_contexts"}
# Unique over all tenants by nature: hashes nobody can guess, a vendor's event numbers.
UNIQUE_OVER_TENANTS = {
    "sessions": {"token_sha256"},
    "api_keys": {"key_hmac"},
    "webhook_events": {"provider", "event_id"},
}
# Partial indexes of the learner, which reads all tenants in the order of publication.
READ_OVER_TENANTS = {
    "ix_performance_feedback_waiting",
    "ix_performance_feedback_applied",
    "ix_job_queue_running",
}
SECRETS = {
    "users": {"password_hash", "clerk_id"},
    "api_keys": {"key_hmac"},
    "sessions": {"token_sha256"},
    "tenant_contexts": {"token_sha256"},
    "social_accounts": {"access_token", "refresh_token"},
}
OURS = "('public'::regnamespace, 'viral'::regnamespace)"


def owned_by_tenants() -> list[Table]:
    return [table for table in TABLES if "tenant_id" in table.c and table.name not in GLOBAL]


def references(table: Table) -> list[ForeignKeyConstraint]:
    return sorted(
        (c for c in table.constraints if isinstance(c, ForeignKeyConstraint)),
        key=lambda constraint: list(constraint.column_keys),
    )


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_table_says_who_may_touch_it(table: Table) -> None:
    security = security_of(table)

    assert security.policies, f"{table} states no policy"
    assert not {"public", "PUBLIC"} & {role for p in security.policies for role in p.roles}
    assert not {"public", "PUBLIC", OWNER} & {grant.role for grant in security.grants}


def test_a_table_that_states_nothing_is_noticed() -> None:
    silent = Table("silent", METADATA.__class__())

    assert not security_of(silent).policies


@pytest.mark.parametrize("table", owned_by_tenants(), ids=str)
def test_the_key_of_a_tenants_table_begins_with_the_tenant(table: Table) -> None:
    key = [column.name for column in table.primary_key.columns]

    if table.name in KEYED_BY_ID:
        assert key == ["id"]
        assert "the key is the id alone" in " ".join((_class_of(table).__doc__ or "").split())
        return
    assert key[:2] == ["tenant_id", "id"]
    assert len(key) == (3 if table.dialect_options["postgresql"]["partition_by"] else 2)
    assert issubclass(_class_of(table), TenantOwned)


def _class_of(table: Table) -> type:
    return next(m.class_ for m in Base.registry.mappers if m.local_table is table)


@pytest.mark.parametrize("table", owned_by_tenants(), ids=str)
def test_a_tenants_table_is_unique_and_searched_within_the_tenant(table: Table) -> None:
    unique = [
        [column.name for column in constraint.columns]
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    indexes = [
        next(iter(index.columns)).name
        for index in table.indexes
        if index.name not in READ_OVER_TENANTS and list(index.columns.keys()) != ["user_id"]
    ]

    for columns in unique:
        assert columns[0] == "tenant_id" or set(columns) == UNIQUE_OVER_TENANTS.get(table.name)
    assert set(indexes) <= {"tenant_id"}


@pytest.mark.parametrize("table", owned_by_tenants(), ids=str)
def test_a_reference_between_tenants_tables_carries_the_tenant(table: Table) -> None:
    for constraint in references(table):
        if constraint.referred_table.name in {"tenants", "users"}:
            continue
        assert constraint.column_keys[0] == "tenant_id"
        assert constraint.elements[0].column.name == "tenant_id"
        assert len(constraint.column_keys) == 2


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_reference_is_never_emptied_between_tenants_tables(table: Table) -> None:
    for constraint in references(table):
        if table.name not in GLOBAL:
            assert constraint.ondelete in {None, "CASCADE"}
        if constraint.referred_table.name == "tenants" and table.name != "users":
            assert constraint.ondelete == "CASCADE"


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_reference_is_covered_by_an_index(table: Table) -> None:
    covered = [[column.name for column in table.primary_key.columns]]
    covered += [[c.name for c in index.columns] for index in table.indexes]
    covered += [
        [column.name for column in constraint.columns]
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]

    for constraint in references(table):
        names = set(constraint.column_keys)
        assert any(set(columns[: len(names)]) == names for columns in covered), names


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_check_has_a_name_of_its_own(table: Table) -> None:
    names = [str(c.name) for c in table.constraints if isinstance(c, CheckConstraint)]

    assert len(names) == len(set(names))
    assert all(name.startswith(f"ck_{table.name}_") for name in names)


@pytest.fixture
async def live(admin: AsyncConnection) -> AsyncConnection:
    await admin.execute(text("SELECT viral.make_partitions()"))
    return admin


async def names(live: AsyncConnection, query: str) -> list[str]:
    return list(await live.scalars(text(query.replace("{ours}", OURS))))


async def test_row_security_is_forced_on_every_table_and_partition(live: AsyncConnection) -> None:
    tables = "relkind IN ('r', 'p') AND relnamespace IN {ours} AND relname <> 'alembic_version'"
    lax = await names(
        live,
        f"SELECT relname FROM pg_class WHERE {tables}"
        " AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    known = await names(live, f"SELECT relname FROM pg_class WHERE {tables} AND NOT relispartition")

    assert lax == []
    assert sorted(known) == sorted(table.name for table in TABLES)


async def test_everybody_has_no_privilege_on_anything_of_ours(live: AsyncConnection) -> None:
    public = await names(
        live,
        """
        SELECT relname FROM pg_class, aclexplode(relacl)
        WHERE grantee = 0 AND relnamespace IN {ours}
        UNION ALL
        SELECT attrelid::regclass || '.' || attname
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl)
        WHERE grantee = 0 AND relnamespace IN {ours}
        UNION ALL
        SELECT proname
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
        WHERE grantee = 0 AND pronamespace IN {ours}
        UNION ALL
        SELECT nspname
        FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
        WHERE grantee = 0 AND oid IN {ours}
        UNION ALL
        SELECT datname
        FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE grantee = 0 AND datname = current_database()
        UNION ALL
        SELECT 'default ' || defaclobjtype::text FROM pg_default_acl, aclexplode(defaclacl)
        WHERE grantee = 0
        """,
    )

    assert public == []


async def test_a_function_has_a_fixed_search_path_and_an_owner_of_ours(
    live: AsyncConnection,
) -> None:
    loose = await names(
        live,
        """
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace IN {ours} AND NOT (
          prosecdef AND 'search_path=""' = ANY (coalesce(proconfig, '{}'))
          AND proowner IN ('viral_owner'::regrole, 'viral_auth'::regrole)
        )
        """,
    )

    assert loose == []


async def test_there_are_no_triggers_sequences_views_or_rules(live: AsyncConnection) -> None:
    others = await names(
        live,
        """
        SELECT relname FROM pg_class WHERE relkind NOT IN ('r', 'p', 'i', 'I', 't')
          AND relnamespace IN {ours}
        UNION ALL
        SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE attidentity <> '' AND relnamespace IN {ours}
        """,
    )

    assert others == []


async def test_the_app_has_no_default_privileges_on_what_comes_later(
    live: AsyncConnection,
) -> None:
    assert await names(live, "SELECT defaclobjtype::text FROM pg_default_acl") == []


@pytest.mark.parametrize("role", [APP, READONLY, WORKER])
async def test_secret_columns_are_out_of_reach(live: AsyncConnection, role: str) -> None:
    readable = await names(
        live,
        f"""
        SELECT relname || '.' || attname
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relkind IN ('r', 'p') AND relnamespace IN {{ours}} AND attnum > 0
          AND has_column_privilege('{role}', attrelid, attnum, 'SELECT')
        """,
    )
    secret = {f"{table}.{column}" for table, columns in SECRETS.items() for column in columns}
    if role == APP:
        # The app opens the ciphertext of the tokens: it posts with them.
        secret -= {"social_accounts.access_token", "social_accounts.refresh_token"}

    assert secret & set(readable) == set()


async def test_the_worker_and_signin_roles_touch_no_table(live: AsyncConnection) -> None:
    touched = await names(
        live,
        """
        SELECT relname FROM pg_class, unnest(ARRAY['viral_worker', 'viral_signin']) AS role
        WHERE relkind IN ('r', 'p') AND relnamespace IN {ours}
          AND has_any_column_privilege(role, oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        """,
    )

    assert touched == []


async def test_no_role_of_the_product_can_pass_row_security(live: AsyncConnection) -> None:
    powerful = await names(
        live,
        """
        SELECT rolname FROM pg_roles
        WHERE rolname LIKE 'viral%' AND (rolsuper OR rolbypassrls OR rolcreaterole)
        ORDER BY rolname
        """,
    )
    owners = await names(
        live,
        f"""
        SELECT r.rolname FROM pg_roles AS r, unnest(ARRAY['viral_owner', 'viral_auth']) AS owner
        WHERE r.rolname IN ('{APP}', '{READONLY}', '{WORKER}', '{SYSTEM}', 'viral_signin',
                            'viral_backup')
          AND pg_has_role(r.oid, owner, 'MEMBER')
        """,
    )

    assert powerful == ["viral_admin", "viral_backup"]
    assert owners == []


@pytest.mark.parametrize("role", [APP, READONLY, WORKER, SYSTEM])
async def test_messages_locks_and_large_objects_are_withheld(
    live: AsyncConnection, role: str
) -> None:
    granted = await names(
        live,
        f"""
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND (proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_'
               OR proname IN ('pg_notify', 'loread', 'lowrite', 'pg_read_file', 'pg_ls_dir'))
          AND has_function_privilege('{role}', oid, 'EXECUTE')
        """,
    )

    assert granted == []
