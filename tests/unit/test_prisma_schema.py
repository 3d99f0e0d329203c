"""Each rule by which a model becomes a model of Prisma, and what the guide says is left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    DefaultClause,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import registry
from sqlalchemy.schema import SchemaItem

from viral.database.generate.prisma import prisma_schema
from viral.errors import SchemaError
from viral.schema.base import NAMING, Base, uuid7
from viral.schema.tables import METADATA

GUIDE = Path(__file__).parents[2] / "docs/prisma-clients.md"
MOMENT = DateTime(timezone=True)


class Models:
    """Models of a test's own, by class, and what is written of them."""

    def __init__(self) -> None:
        self._registry = registry(metadata=MetaData(naming_convention=NAMING))
        # The registry itself holds its classes weakly.
        self._classes: list[type] = []

    def add(
        self, name: str, table: str, *items: SchemaItem, doc: str = "", schema: str | None = None
    ) -> None:
        """Add a model with an id."""
        made = Table(
            table,
            self._registry.metadata,
            Column(
                "id", Uuid, primary_key=True, comment="The id,\nby the client." if doc else None
            ),
            *items,
            schema=schema,
        )
        self._classes.append(type(name, (), {"__doc__": doc}))
        self._registry.map_imperatively(self._classes[-1], made)

    def schema(self) -> str:
        return prisma_schema(self._registry)

    def lines(self) -> list[str]:
        """Return the schema's lines, with single spaces."""
        return [re.sub(" +", " ", line).strip() for line in self.schema().splitlines()]

    def field(self, name: str) -> str:
        """Return the line of a field after its name."""
        (line,) = [line for line in self.lines() if line.startswith(f"{name} ")]
        return line.removeprefix(f"{name} ")


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("c", Text), "String?"),
        (Column("c", Text, nullable=False), "String"),
        (Column("c", String(20)), "String? @db.VarChar(20)"),
        (Column("c", Integer), "Int?"),
        (Column("c", BigInteger), "BigInt?"),
        (Column("c", Float(53)), "Float?"),
        (Column("c", Numeric(10, 4)), "Decimal? @db.Decimal(10, 4)"),
        (Column("c", Boolean), "Boolean?"),
        (Column("c", LargeBinary), "Bytes?"),
        (Column("c", Date), "DateTime? @db.Date"),
        (Column("c", MOMENT), "DateTime? @db.Timestamptz(6)"),
        (Column("c", JSONB), "Json?"),
        (Column("c", Uuid), "String? @db.Uuid"),
        (Column("c", TSVECTOR), 'Unsupported("tsvector")?'),
    ],
)
def test_a_column_becomes_a_field_of_its_type(
    models: Models, column: Column[object], expected: str
) -> None:
    models.add("Clip", "clips", column)

    assert expected == models.field("c")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("c", Uuid, default=uuid7), "String? @default(uuid(7)) @db.Uuid"),
        (Column("c", Uuid, default=lambda: None), "String? @db.Uuid"),
        (Column("c", Text, server_default='it\'s "a"'), 'String? @default("it\'s \\"a\\"")'),
        (Column("c", Text, server_default=text("'it''s'")), 'String? @default("it\'s")'),
        (Column("c", Integer, server_default="5"), "Int? @default(5)"),
        (Column("c", Float(53), server_default=text("-0.5")), "Float? @default(-0.5)"),
        (Column("c", Boolean, server_default=text("true")), "Boolean? @default(true)"),
        (Column("c", JSONB, server_default=text("'{}'")), 'Json? @default("{}")'),
        (
            Column("c", MOMENT, server_default=func.now(), onupdate=func.now()),
            "DateTime? @default(now()) @updatedAt @db.Timestamptz(6)",
        ),
        (
            Column("c", Date, server_default="2026-01-01"),
            "DateTime? @default(dbgenerated()) @db.Date",
        ),
        (
            Column("c", MOMENT, server_default=text("now() + interval '1 month'")),
            "DateTime? @default(dbgenerated()) @db.Timestamptz(6)",
        ),
        (Column("c", Integer, Computed("1 + 1")), "Int? @default(dbgenerated())"),
    ],
)
def test_a_default_is_said_as_far_as_prisma_can_say_it(
    models: Models, column: Column[object], expected: str
) -> None:
    models.add("Clip", "clips", column)

    assert expected == models.field("c")


def test_names_are_those_of_javascript_mapped_to_ours(models: Models) -> None:
    models.add("FilmClip", "film_clips", Column("hash_sha256_of_it", Text))

    assert "model FilmClip {" in models.lines()
    assert 'String? @map("hash_sha256_of_it")' == models.field("hashSha256OfIt")
    assert '@@map("film_clips")' in models.lines()


def test_keys_and_indexes_keep_their_names(models: Models) -> None:
    models.add(
        "Clip",
        "clips",
        Column("tenant_id", Uuid, primary_key=True),
        Column("slug", Text),
        Column("label", Text),
        UniqueConstraint("slug"),
        UniqueConstraint("tenant_id", "label"),
        Index("uq_clips_twice", "label", "slug", unique=True),
        Index(None, "tenant_id", "slug"),
    )

    assert 'String? @unique(map: "uq_clips_slug")' == models.field("slug")
    assert [
        '@@id([id, tenantId], map: "pk_clips")',
        '@@unique([tenantId, label], map: "uq_clips_tenant_id_label")',
        '@@unique([label, slug], map: "uq_clips_twice")',
        '@@index([tenantId, slug], map: "ix_clips_tenant_id_slug")',
        '@@map("clips")',
        "}",
    ] == models.lines()[-6:]


def test_a_key_of_one_column_stands_at_its_field(models: Models) -> None:
    models.add("Clip", "clips")

    assert 'String @id(map: "pk_clips") @db.Uuid' == models.field("id")
    assert "@@id" not in models.schema()


def test_a_name_too_long_for_postgresql_is_shortened_as_it_is_there(models: Models) -> None:
    column = Column("a_column_whose_name_alone_has_more_than_fifty_characters", Text)
    models.add("Clip", "clips", column, Index(None, "id", column))

    names = re.findall('@@index.*map: "(.*)"', models.schema())
    assert ["ix_clips_id_a_column_whose_name_alone_has_more_than_fif_1d73"] == names


def test_an_index_that_prisma_cannot_say_is_left_out(models: Models) -> None:
    models.add(
        "Clip",
        "clips",
        Column("title", Text),
        Index("ix_part", "title", postgresql_where=text("title <> ''")),
        Index("uq_part", "title", unique=True, postgresql_where=text("title <> ''")),
        Index("ix_lower", text("lower(title)")),
    )

    assert not re.search("ix_part|uq_part|ix_lower", models.schema())


def test_a_foreign_key_becomes_a_relation_of_both_models(models: Models) -> None:
    models.add("Film", "films", Column("tenant_id", Uuid, primary_key=True))
    models.add(
        "SceneCut",
        "scene_cuts",
        Column("tenant_id", Uuid, primary_key=True),
        Column("film_id", Uuid),
        ForeignKeyConstraint(
            ["tenant_id", "film_id"],
            ["films.tenant_id", "films.id"],
            ondelete="SET NULL",
            onupdate="CASCADE",
        ),
    )

    assert (
        "Film? @relation(fields: [tenantId, filmId], references: [tenantId, id],"
        ' onDelete: SetNull, onUpdate: Cascade, map: "fk_scene_cuts_tenant_id_film_id")'
    ) == models.field("film")
    assert "SceneCut[]" == models.field("sceneCuts")


def test_a_unique_foreign_key_relates_one_row_to_one(models: Models) -> None:
    models.add("Film", "films")
    film = Column("film_id", Uuid, ForeignKey("films.id"), unique=True, nullable=False)
    models.add("Poster", "posters", film)

    assert "Poster?" == models.field("poster")
    assert models.field("film").startswith("Film @relation(fields: [filmId]")


def test_a_key_to_another_column_than_the_id_is_named_after_its_model(models: Models) -> None:
    models.add("Member", "members", Column("user_id", Uuid, unique=True))
    models.add("Note", "notes", Column("user_id", Uuid, ForeignKey("members.user_id")))

    assert models.field("member").startswith("Member? @relation(fields: [userId]")


def test_several_keys_between_two_models_are_told_apart(models: Models) -> None:
    models.add("Film", "films", Column("sequel_id", Uuid, ForeignKey("films.id")))
    left = Column("left_id", Uuid, ForeignKey("films.id"))
    right = Column("right_id", Uuid, ForeignKey("films.id"))
    models.add("Duel", "duels", left, right)

    assert models.field("left").startswith('Film? @relation("DuelLeft", fields: [leftId]')
    assert 'Duel[] @relation("DuelLeft")' == models.field("duelsByLeft")
    assert 'Duel[] @relation("DuelRight")' == models.field("duelsByRight")
    assert 'Film[] @relation("FilmSequel")' == models.field("films")


def test_comments_and_docstrings_stand_above_what_they_explain(models: Models) -> None:
    models.add("Clip", "clips", doc="A film.\n\n    Kept for a year.\n    ")

    expected = "/// A film.\n///\n/// Kept for a year.\nmodel Clip {\n"
    assert f"{expected}  /// The id,\n  /// by the client.\n  id String @id" in models.schema()


def test_a_generated_column_says_that_it_is_not_to_be_written(models: Models) -> None:
    models.add("Clip", "clips", Column("twice", Integer, Computed("1 + 1")))

    lines = models.lines()
    comment = lines[lines.index("twice Int? @default(dbgenerated())") - 1]
    assert "/// PostgreSQL computes it; writing it is refused." == comment


def test_a_table_outside_of_public_is_left_out_with_its_relations(models: Models) -> None:
    models.add("Film", "films")
    film = Column("film_id", Uuid, ForeignKey("films.id"))
    models.add("Secret", "secrets", film, schema="viral")

    assert "ecret" not in models.schema()


def test_two_fields_of_one_name_are_refused(models: Models) -> None:
    models.add("Film", "films")
    film = Column("film_id", Uuid, ForeignKey("films.id"))
    models.add("Poster", "posters", Column("film", Text), film)

    with pytest.raises(SchemaError, match="Poster would have 2 fields film"):
        models.schema()


def test_models_and_the_far_sides_of_relations_stand_in_order() -> None:
    schema = prisma_schema()

    names = re.findall(r"(?m)^model (\w+)", schema)
    tenant = schema.partition("model Tenant {")[2].partition("}")[0]
    related = re.findall(r"(\w+)\[\]", tenant)
    assert [sorted(names), sorted(related)] == [names, related]


def indexes_with(option: str) -> set[str]:
    indexes = (index for table in METADATA.tables.values() for index in table.indexes)
    # A predicate has no truth value of its own: it is SQL.
    return {
        str(index.name)
        for index in indexes
        if str(index.dialect_options["postgresql"][option]) not in {"None", "False"}
    }


def fields_where(is_meant: Callable[[Column[object]], bool]) -> set[str]:
    """Return fields by the names they have in JavaScript."""
    return {
        f"{mapper.class_.__name__}.{re.sub('_(.)', lambda m: m[1].upper(), column.name)}"
        for mapper in Base.registry.mappers
        for column in mapper.columns
        if is_meant(column)
    }


def is_an_expression(column: Column[object]) -> bool:
    default = column.server_default
    return isinstance(default, DefaultClause) and "interval" in str(default.arg)


def partitioned() -> set[str]:
    return {
        mapper.class_.__name__
        for mapper in Base.registry.mappers
        if isinstance(mapper.local_table, Table)
        and mapper.local_table.dialect_options["postgresql"]["partition_by"]
    }


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("partial indexes", indexes_with("where")),
        ("unique keys where NULL equals NULL", indexes_with("nulls_not_distinct")),
        ("included columns of an index", indexes_with("include")),
        ("generated columns", fields_where(lambda column: column.computed is not None)),
        ("defaults that are expressions", fields_where(is_an_expression)),
        ("comments on columns", fields_where(lambda column: column.comment is not None)),
        ("partitions", partitioned()),
        ("tables of the product alone", {t for t in METADATA.tables if "." in t}),
    ],
)
def test_the_guide_names_what_prisma_cannot_express(what: str, names: set[str]) -> None:
    rows = re.findall(rf"(?m)^\| {what}.*\| (.*) \|$", GUIDE.read_text("utf-8"))

    assert [names] == [set(re.findall("`([^`]+)`", row)) for row in rows]


def test_every_default_that_is_left_to_postgresql_is_in_the_guide() -> None:
    left = set(re.findall(r"(?m)^  (\w+) .*dbgenerated\(\)", prisma_schema()))

    guide = GUIDE.read_text("utf-8")
    assert left == {name for name in left if f".{name}`" in guide}
