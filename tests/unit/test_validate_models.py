"""Each rule of the models is broken by a made-up table, and names what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Enum,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, relationship
from sqlalchemy.schema import SchemaItem

from viral.database.validate.findings import Finding
from viral.database.validate.functions import function_rules
from viral.database.validate.models import validate_models
from viral.schema.base import NAMING, Identified, TenantOwned
from viral.schema.functions import FUNCTIONS, Function
from viral.schema.security import (
    APP,
    READONLY,
    SYSTEM,
    Grant,
    OwnedBy,
    Policy,
    RowSecurity,
    open_to_all,
    system_only,
    system_too,
    tenant_only,
)

LONG = "a" * 60


def broken(metadata: MetaData) -> list[tuple[str, str]]:
    """List what breaks a rule; tables made without a class break the one about classes."""
    found = validate_models(metadata, FUNCTIONS)
    return [(each.rule, each.object) for each in found if each.rule != "class-missing"]


def tenants_table(
    metadata: MetaData, name: str, *items: SchemaItem, key: tuple[str, ...] = ("tenant_id", "id")
) -> Table:
    """Make a table that keeps all rules but those that its items break."""
    return Table(
        name,
        metadata,
        Column("tenant_id", Uuid()),
        Column("id", Uuid()),
        Column("name", Text()),
        PrimaryKeyConstraint(*key),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"], ondelete="CASCADE"),
        tenant_only(),
        *items,
    )


@pytest.fixture
def metadata() -> MetaData:
    """A tenant with films: nothing is wrong with them."""
    metadata = MetaData(naming_convention=NAMING)
    Table("tenants", metadata, Column("id", Uuid(), primary_key=True), system_only())
    tenants_table(metadata, "films")
    return metadata


def test_the_models_of_the_product_keep_all_rules() -> None:
    assert [] == validate_models()


def test_made_up_tables_that_break_nothing_are_found_right(metadata: MetaData) -> None:
    tenants_table(
        metadata,
        "posts",
        Column("film_id", Uuid()),
        Column("status", Text(), server_default="queued"),
        Column("access_token", Text()),
        Column("posted_at", DateTime(timezone=True)),
        ForeignKeyConstraint(
            ["tenant_id", "film_id"], ["films.tenant_id", "films.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("tenant_id", "name"),
        Index(None, "tenant_id", "film_id"),
        Index(None, "tenant_id", text("posted_at DESC")),
        Index("ix_posts_waiting", "status", "posted_at", postgresql_where=text("name IS NULL")),
        CheckConstraint("status IN ('queued', 'posted')", name="status"),
        Policy("tiktok_only", APP, using="name = 'tiktok'", is_restrictive=True),
        system_too("SELECT"),
        Grant(APP, "SELECT"),
        Grant(READONLY, "SELECT", columns=("id", "name")),
        Grant(SYSTEM, "SELECT"),
    )

    assert [] == broken(metadata)


ITEMS: list[tuple[str, str, list[SchemaItem]]] = [
    ("policy-role", "posts.all", [Policy("all", "PUBLIC", using="true")]),
    ("policy-without-tenant", "posts.all", [Policy("all", APP, using="true")]),
    (
        "policy-without-tenant",
        "posts.all",
        [Policy("all", APP, using="tenant_id = (SELECT viral.tenant_id())", check="true")],
    ),
    (
        "policy-per-row",
        "posts.mine",
        [Policy("mine", APP, using="tenant_id = viral.tenant_id()")],
    ),
    ("policy-without-tenant", "posts.open_to_all", [open_to_all()]),
    ("owner", "posts", [OwnedBy("viral_migrator")]),
    ("row-security-off", "posts", [RowSecurity(is_enabled=True, is_forced=False)]),
    ("grant-role", "posts to PUBLIC", [Grant("PUBLIC", "SELECT")]),
    ("grant-privilege", "posts to viral_app", [Grant(APP, "TRUNCATE")]),
    ("grant-privilege", "posts to viral_app", [Grant(APP, "DELETE", columns=("name",))]),
    ("grant-column", "posts to viral_app", [Grant(APP, "SELECT", columns=("nmae",))]),
    ("grant-passed-on", "posts to viral_app", [Grant(APP, "SELECT", may_pass_on=True)]),
    ("grant-without-policy", "posts to viral_system", [Grant(SYSTEM, "SELECT")]),
    (
        "grant-without-policy",
        "posts to viral_system",
        [system_too("SELECT"), Grant(SYSTEM, "SELECT", "UPDATE")],
    ),
    (
        "secret-readable",
        "posts.link_sha256",
        [Column("link_sha256", Text()), Grant(APP, "SELECT")],
    ),
    (
        "secret-readable",
        "posts.access_token",
        [Column("access_token", Text()), Grant(READONLY, "SELECT", columns=("access_token",))],
    ),
    ("tenant-unique", "posts.uq_posts_name", [UniqueConstraint("name")]),
    ("tenant-unique", "posts.uq_posts_name", [Index("uq_posts_name", "name", unique=True)]),
    ("tenant-index", "posts.ix_posts_name", [Index(None, "name"), system_too()]),
    ("tenant-index", "posts.ix_posts_by_name", [Index("ix_posts_by_name", "name")]),
    (
        "reference-without-index",
        "posts.fk_posts_tenant_id_film_id",
        [
            Column("film_id", Uuid()),
            ForeignKeyConstraint(["tenant_id", "film_id"], ["films.tenant_id", "films.id"]),
            Index("ix_posts_films", "tenant_id", "film_id", postgresql_where=text("id IS NULL")),
        ],
    ),
    (
        "reference-emptied",
        "posts.fk_posts_tenant_id_film_id",
        [
            Column("film_id", Uuid()),
            ForeignKeyConstraint(
                ["tenant_id", "film_id"], ["films.tenant_id", "films.id"], ondelete="SET NULL"
            ),
            Index(None, "tenant_id", "film_id"),
        ],
    ),
    (
        "reference-without-tenant",
        "posts.fk_posts_film_id",
        [
            Column("film_id", Uuid()),
            ForeignKeyConstraint(["film_id"], ["films.id"]),
            Index(None, "film_id"),
        ],
    ),
    (
        "reference-type",
        "posts.film_id",
        [
            Column("film_id", Text()),
            ForeignKeyConstraint(["tenant_id", "film_id"], ["films.tenant_id", "films.id"]),
            Index(None, "tenant_id", "film_id"),
        ],
    ),
    ("timestamp-without-zone", "posts.posted_at", [Column("posted_at", DateTime())]),
    ("enum-type", "posts.mood", [Column("mood", Enum("good", "bad", name="mood"))]),
    ("json-type", "posts.extra", [Column("extra", JSON())]),
    ("state-without-check", "posts.status", [Column("status", Text(), server_default="queued")]),
    ("sequence", "posts.number", [Column("number", Integer(), Identity())]),
    (
        "index-not-leakproof",
        "posts.ix_posts_tenant_id_cost",
        [Column("cost", Numeric()), Index(None, "tenant_id", "cost")],
    ),
    (
        "index-not-leakproof",
        "posts.uq_posts_tenant_id_extra",
        [Column("extra", JSONB()), UniqueConstraint("tenant_id", "extra")],
    ),
    (
        "index-not-leakproof",
        "posts.ix_posts_lower",
        [Column("title", Text()), Index("ix_posts_lower", "tenant_id", func.lower(text("title")))],
    ),
    ("name-column", "posts.postedAt", [Column("postedAt", Text())]),
    ("name-missing", "posts", [ExcludeConstraint(("tenant_id", "="), ("name", "="))]),
    (
        "tenant-unique",
        "posts.ex_posts_name",
        [ExcludeConstraint(("name", "="), name="ex_posts_name")],
    ),
    ("name-unconventional", "posts.by_name", [Index("by_name", "tenant_id", "name")]),
    ("name-too-long", f"posts.ix_posts_{LONG}", [Index(f"ix_posts_{LONG}", "tenant_id", "name")]),
    ("name-too-long", f"posts.x{LONG}xxx", [Column(f"x{LONG}xxx", Text())]),
]


@pytest.mark.parametrize(("rule", "named", "items"), ITEMS)
def test_what_breaks_a_rule_is_named(
    metadata: MetaData, rule: str, named: str, items: list[SchemaItem]
) -> None:
    tenants_table(metadata, "posts", *items)

    assert [(rule, named)] == broken(metadata)


def test_what_the_system_alone_sees_may_be_searched_by_anything(metadata: MetaData) -> None:
    Table(
        "posts",
        metadata,
        Column("id", Uuid(), primary_key=True),
        Column("tenant_id", Uuid()),
        Column("cost", Numeric()),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"], ondelete="CASCADE"),
        Index(None, "tenant_id", "cost"),
        system_only(),
    )

    assert "index-not-leakproof" not in {rule for rule, _ in broken(metadata)}


def test_a_table_that_states_no_policy_is_found(metadata: MetaData) -> None:
    Table("topics", metadata, Column("id", Uuid(), primary_key=True))

    assert [("policy-missing", "topics")] == broken(metadata)


@pytest.mark.parametrize("key", [("id",), ("id", "tenant_id"), ("tenant_id", "id", "name")])
def test_a_key_that_does_not_begin_with_the_tenant_is_found(
    metadata: MetaData, key: tuple[str, ...]
) -> None:
    tenants_table(metadata, "posts", key=key)

    assert ("tenant-key", "posts") in broken(metadata)


def test_rows_that_outlive_their_tenant_are_found(metadata: MetaData) -> None:
    Table(
        "posts",
        metadata,
        Column("tenant_id", Uuid()),
        Column("id", Uuid()),
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        tenant_only(),
    )

    assert [("tenant-reference", "posts.tenant_id")] == broken(metadata)


def test_a_number_as_key_is_found(metadata: MetaData) -> None:
    Table("topics", metadata, Column("id", Integer(), primary_key=True), system_only())

    assert [("id-not-uuid", "topics.id"), ("sequence", "topics.id")] == broken(metadata)


@pytest.mark.parametrize("name", ["topic", "Topics", "hotTopics", "_topics"])
def test_a_table_that_is_not_named_after_many_rows_is_found(metadata: MetaData, name: str) -> None:
    Table(name, metadata, Column("id", Uuid(), primary_key=True), system_only())

    assert ("name-table", name) in broken(metadata)


def test_a_partitioned_table_leaves_room_for_the_month(metadata: MetaData) -> None:
    name = "t" * 56 + "s"
    Table(
        name,
        metadata,
        Column("id", Uuid(), primary_key=True),
        system_only(),
        postgresql_partition_by="RANGE (id)",
    )

    assert [("name-too-long", f"{name}.{name}")] == broken(metadata)


def test_classes_say_what_a_row_is_and_load_nothing_by_themselves() -> None:
    class Root(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING)

    class Tenant(Identified, Root):
        """A client."""

        __tablename__ = "tenants"
        __table_args__ = (system_only(),)

    class Posts(Identified, TenantOwned, Root):
        __tablename__ = "posts"

        tenant: Mapped[Tenant] = relationship()

        __table_args__ = (tenant_only(),)

    assert [
        ("class-without-docstring", "Posts"),
        ("class-name", "Posts"),
        ("relationship-loads-by-itself", "Posts.tenant"),
    ] == broken(Root.metadata)


def test_a_class_claims_the_key_that_is_the_id_alone() -> None:
    class Root(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING)
        type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012

    class Tenant(Identified, Root):
        """A client."""

        __tablename__ = "tenants"
        __table_args__ = (system_only(),)

    class Ticket(Identified, Root):
        """A way in.

        Looked up before a tenant is known, so the key
        is the id alone.
        """

        __tablename__ = "tickets"

        tenant_id: Mapped[UUID]
        code: Mapped[datetime]

        __table_args__ = (
            ForeignKeyConstraint(["tenant_id"], ["tenants.id"], ondelete="CASCADE"),
            UniqueConstraint("code"),
            Index(None, "tenant_id"),
            tenant_only(),
        )

    assert [] == broken(Root.metadata)


def test_a_table_without_a_class_is_found(metadata: MetaData) -> None:
    found = validate_models(metadata)

    assert ["films", "tenants"] == [each.object for each in found if each.rule == "class-missing"]


@dataclass(frozen=True, slots=True)
class Written(Function):
    """A function whose file is this text."""

    text: str = ""

    @property
    def body(self) -> str:
        return self.text


GOOD = """-- It does nothing.
CREATE FUNCTION viral.nothing() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ SELECT $$"""


def rules_of(function: Function) -> list[str]:
    """Check one function; the files of the others are left over."""
    found = function_rules([function])
    return [each.rule for each in found if each.rule != "function-undeclared"]


def test_a_function_that_breaks_nothing_is_found_right() -> None:
    assert [] == rules_of(Written("nothing", "", (APP,), text=GOOD))


@pytest.mark.parametrize(
    ("rule", "word", "instead"),
    [
        ("function-without-comment", "-- It does nothing.\n", ""),
        ("function-name", "viral.nothing", "viral.something"),
        ("function-not-definer", "SECURITY DEFINER", ""),
        ("function-search-path", "''", "public"),
        ("function-search-path", "SET search_path = ''", "-- SET search_path = ''"),
        ("function-language", "sql", "plpython3u"),
        ("function-takes-tenant", "()", "(tenant_id uuid)"),
    ],
)
def test_a_file_that_breaks_a_rule_is_found(rule: str, word: str, instead: str) -> None:
    function = Written("nothing", "", (APP,), text=GOOD.replace(word, instead))

    assert [rule] == rules_of(function)


def test_a_function_that_runs_as_its_caller_reads_nothing_but_its_arguments() -> None:
    pure = GOOD.replace("SECURITY DEFINER", "IMMUTABLE").replace("()", "(tenant_id uuid)")
    reading = GOOD.replace("SECURITY DEFINER", "STABLE")

    assert [] == rules_of(Written("nothing", "", (APP,), is_definer=False, text=pure))
    assert ["function-not-definer"] == rules_of(
        Written("nothing", "", (APP,), is_definer=False, text=reading)
    )


def test_a_function_is_owned_and_called_by_roles_of_ours() -> None:
    function = Written("nothing", "", ("PUBLIC",), "viral_admin", text=GOOD)

    assert ["function-owner", "function-callers"] == rules_of(function)


def test_a_function_without_a_file_and_a_file_without_a_function_are_found() -> None:
    declared = [*FUNCTIONS[1:], Function("nowhere", "", (APP,))]

    found = list(function_rules(declared))

    assert [("function-file", "viral.nowhere()"), ("function-undeclared", "tenant_id.sql")] == [
        (each.rule, each.object) for each in found
    ]


def test_every_finding_says_what_to_do(metadata: MetaData) -> None:
    Table("topic", metadata, Column("ID", Integer(), primary_key=True))

    found: list[Finding] = validate_models(metadata)

    assert found
    assert all(each.hint.endswith(".") for each in found)
