"""The small parts of a draft: what is lost, what a key is, which rights come and go."""

from __future__ import annotations

import pytest

from viral.database.catalog import Difference, Entry
from viral.database.draft.changes import Change, Mode, Phase
from viral.database.draft.columns import alter_column, lost_by_type
from viral.database.draft.constraints import add_constraint, add_index
from viral.database.draft.dependencies import depth
from viral.database.draft.fresh import FreshTables
from viral.database.draft.keys import Key, key_of
from viral.database.draft.objects import change_object
from viral.database.draft.renames import renamed
from viral.database.draft.security import change_grant
from viral.database.draft.statements import altered
from viral.database.draft.steps import steps_of, with_unique_names
from viral.database.scripts import Step


def column(kind: str) -> Entry:
    place = {"table": "public.t", "column": "c", "bare": "c"}
    return Entry("column", "public.t.c", {"type": kind, "not null": "no"}, place)


@pytest.mark.parametrize(
    ("before", "after", "condition"),
    [
        ("integer", "bigint", None),
        ("bigint", "numeric", None),
        ("bigint", "smallint", "c NOT BETWEEN -32768 AND 32767"),
        ("bigint", "integer", "c NOT BETWEEN -2147483648 AND 2147483647"),
        ("character varying(5)", "text", None),
        ("character varying(5)", "character varying", None),
        ("character varying(5)", "character varying(6)", None),
        ("text", "character varying(5)", "length(c) > 5"),
        ("character varying(6)", "character varying(5)", "length(c) > 5"),
        ("numeric(8,2)", "numeric", None),
        ("numeric(8,2)", "numeric(10,4)", None),
        ("numeric(8,2)", "numeric(10,2)", None),
        ("numeric(8,2)", "numeric(8,3)", "c <> round(c, 3) OR abs(round(c, 3)) >= 100000"),
        ("numeric(8,2)", "numeric(8,1)", "c <> round(c, 1) OR abs(round(c, 1)) >= 10000000"),
        ("numeric", "numeric(8,2)", "c <> round(c, 2) OR abs(round(c, 2)) >= 1000000"),
        ("double precision", "integer", "c IS NOT NULL"),
        ("text", "uuid", "c IS NOT NULL"),
    ],
)
def test_a_type_loses_what_it_cannot_hold(before: str, after: str, condition: str | None) -> None:
    risk = lost_by_type(column(after), column(before))

    query = None if condition is None else f"SELECT count(*) FROM public.t WHERE {condition}"
    assert query == (risk.query if risk else None)


@pytest.mark.parametrize(
    ("before", "after", "waived"),
    [
        ("character varying(5)", "text", ["loss-not-counted", "changing-column-type"]),
        ("numeric(8,2)", "numeric(10,2)", ["loss-not-counted", "changing-column-type"]),
        ("numeric(8,2)", "numeric(10,4)", ["loss-not-counted"]),
        ("integer", "bigint", ["loss-not-counted"]),
        ("bigint", "integer", []),
    ],
)
def test_a_person_answers_for_a_table_that_is_rewritten(
    before: str, after: str, waived: list[str]
) -> None:
    [change] = alter_column(column(after), column(before), "viral_owner", {})

    assert waived == [waiver.rule for waiver in change.waivers]


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        (
            "CREATE UNIQUE INDEX x ON public.t USING btree (a, b DESC NULLS LAST)",
            Key(("a", "b"), None, are_nulls_equal=False),
        ),
        (
            'CREATE UNIQUE INDEX "x y" ON ONLY public.t USING btree ("A, b" text_pattern_ops)',
            Key(('"A, b"',), None, are_nulls_equal=False),
        ),
        (
            "CREATE INDEX x ON public.t USING btree (lower(a) text_ops, ((b || '),'::text)))",
            Key(("lower(a)", "((b || '),'::text))"), None, are_nulls_equal=False),
        ),
        (
            "CREATE UNIQUE INDEX x ON t USING btree (a) INCLUDE (b) NULLS NOT DISTINCT WHERE (c)",
            Key(("a",), "(c)", are_nulls_equal=True),
        ),
        (
            "CREATE INDEX x ON t USING btree (a) WITH (fillfactor='50') TABLESPACE fast WHERE (c)",
            Key(("a",), "(c)", are_nulls_equal=False),
        ),
    ],
)
def test_a_key_is_read_from_its_index(definition: str, key: Key) -> None:
    assert key == key_of(definition)


@pytest.mark.parametrize(
    ("rest", "condition", "group"),
    [
        ("(a)", " WHERE a IS NOT NULL", "a"),
        ("(a, b)", " WHERE a IS NOT NULL AND b IS NOT NULL", "a, b"),
        ("(a) NULLS NOT DISTINCT", "", "a"),
        ("(a) NULLS NOT DISTINCT WHERE (b > 1)", " WHERE (b > 1)", "a"),
        ("(lower(a)) WHERE (b)", " WHERE lower(a) IS NOT NULL AND (b)", "lower(a)"),
    ],
)
def test_what_a_key_would_refuse_is_counted(rest: str, condition: str, group: str) -> None:
    definition = f"CREATE UNIQUE INDEX x ON public.t USING btree {rest}"
    place = {"table": "public.t", "bare": "x", "unique": True}
    entry = Entry("index", "public.x", {"definition": definition}, place)

    [change] = add_index(entry, "viral_owner", {"table public.t": table()})

    assert [
        (
            f"SELECT count(*) FROM (SELECT FROM public.t{condition} GROUP BY {group}"
            " HAVING count(*) > 1) AS twice"
        )
    ] == [risk.query for risk in change.risks]


def grant_of(*privileges: str) -> Entry:
    place = {"on": "public.t", "role": "viral_app", "owner": "viral_owner"}
    return Entry("grant", "table public.t to viral_app", {"privileges": list(privileges)}, place)


@pytest.mark.parametrize(
    ("before", "after", "statements"),
    [
        (["SELECT"], ["INSERT", "SELECT"], ["GRANT INSERT ON public.t TO viral_app"]),
        (
            ["DELETE", "SELECT", "UPDATE"],
            ["SELECT"],
            ["REVOKE DELETE, UPDATE ON public.t FROM viral_app"],
        ),
        (
            ["SELECT"],
            ["SELECT (may pass on)"],
            ["GRANT SELECT ON public.t TO viral_app WITH GRANT OPTION"],
        ),
        (
            ["SELECT (may pass on)"],
            ["SELECT"],
            ["REVOKE GRANT OPTION FOR SELECT ON public.t FROM viral_app"],
        ),
        (
            ["SELECT (may pass on)"],
            ["UPDATE"],
            ["REVOKE SELECT ON public.t FROM viral_app", "GRANT UPDATE ON public.t TO viral_app"],
        ),
    ],
)
def test_rights_come_and_go(before: list[str], after: list[str], statements: list[str]) -> None:
    assert statements == list(change_grant(grant_of(*after), grant_of(*before)))


def enumeration(*labels: str) -> Entry:
    return Entry("type", "public.mood", {"kind": "enum", "labels": list(labels)})


@pytest.mark.parametrize(
    ("before", "after", "statements"),
    [
        ("b", "bc", ["ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'c' AFTER 'b'"]),
        ("b", "ab", ["ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'a' BEFORE 'b'"]),
        (
            "c",
            "abc",
            [
                "ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'a' BEFORE 'c'",
                "ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'b' AFTER 'a'",
            ],
        ),
        ("", "a", ["ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'a'"]),
        ("ab", "a", []),
        ("ab", "ba", []),
    ],
)
def test_labels_are_added_in_their_place_and_never_taken(
    before: str, after: str, statements: list[str]
) -> None:
    assert statements == list(change_object(enumeration(*after), enumeration(*before)))


def composite(*attributes: str) -> Entry:
    return Entry("type", "public.pair", {"kind": "composite", "attributes": list(attributes)})


@pytest.mark.parametrize(
    ("before", "after", "statements"),
    [
        (["a text"], ["a text", "b uuid"], ["ALTER TYPE public.pair ADD ATTRIBUTE b uuid"]),
        (['"A b" text', "c uuid"], ["c uuid"], ['ALTER TYPE public.pair DROP ATTRIBUTE "A b"']),
        (["a text"], ["b uuid", "a text"], []),
    ],
)
def test_attributes_come_at_the_end(
    before: list[str], after: list[str], statements: list[str]
) -> None:
    assert statements == list(change_object(composite(*after), composite(*before)))


def table(*, owner: str = "viral_owner", is_partitioned: bool = False) -> Entry:
    parts = {"owner": owner} | ({"partition by": "RANGE (a)"} if is_partitioned else {})
    return Entry("table", "public.t", parts, {"table": "public.t"})


def constraint(kind: str, definition: str) -> Entry:
    index = "CREATE UNIQUE INDEX k ON public.t USING btree (a)"
    return Entry(
        "constraint",
        "public.t.k",
        {"definition": definition, "validated": "yes", "index": index},
        {"table": "public.t", "name": "k", "bare": "k", "type": kind, "references": "u"},
    )


REFERENCE = "FOREIGN KEY (a) REFERENCES u(id)"


@pytest.mark.parametrize(
    ("kind", "definition", "of", "statements"),
    [
        (
            "c",
            "CHECK ((a > 0))",
            table(),
            [
                ("ALTER TABLE public.t ADD CONSTRAINT k CHECK ((a > 0)) NOT VALID", ()),
                ("ALTER TABLE public.t VALIDATE CONSTRAINT k", ()),
            ],
        ),
        (
            "f",
            REFERENCE,
            table(),
            [
                (f"ALTER TABLE public.t ADD CONSTRAINT k {REFERENCE} NOT VALID", ()),
                ("ALTER TABLE public.t VALIDATE CONSTRAINT k", ("public.t", "public.u")),
            ],
        ),
        (
            "f",
            REFERENCE,
            table(is_partitioned=True),
            [(f"ALTER TABLE public.t ADD CONSTRAINT k {REFERENCE}", ("public.t", "public.u"))],
        ),
        (
            "u",
            "UNIQUE (a) DEFERRABLE",
            table(),
            [
                ('CREATE UNIQUE INDEX CONCURRENTLY "k_next" ON public.t USING btree (a)', ()),
                (
                    'ALTER TABLE public.t ADD CONSTRAINT k UNIQUE USING INDEX "k_next" DEFERRABLE',
                    (),
                ),
            ],
        ),
        (
            "p",
            "PRIMARY KEY (a)",
            table(owner="viral_auth"),
            [("ALTER TABLE public.t ADD CONSTRAINT k PRIMARY KEY (a)", ())],
        ),
    ],
)
def test_a_constraint_takes_the_gentlest_form_there_is(
    kind: str, definition: str, of: Entry, statements: list[tuple[str, tuple[str, ...]]]
) -> None:
    changes = add_constraint(constraint(kind, definition), "viral_owner", {of.title: of})

    assert statements == [(change.sql, change.in_sight) for change in changes]


def index(name: str, columns: str) -> Entry:
    definition = f"CREATE INDEX {name} ON public.t USING btree ({columns})"
    place = {"table": "public.t", "bare": name, "unique": False}
    return Entry("index", f"public.{name}", {"definition": definition}, place)


def test_what_differs_by_its_name_alone_is_renamed() -> None:
    old, other, new = index("old", "a"), index("other", "b"), index("new", "a")

    pairs = renamed([Difference(None, old), Difference(None, other), Difference(new, None)])

    assert [(old, new)] == pairs


def test_one_old_index_gives_its_place_to_one_new_index() -> None:
    old, one, two = index("old", "a"), index("one", "a"), index("two", "a")

    pairs = renamed([Difference(None, old), Difference(one, None), Difference(two, None)])

    assert [(old, one)] == pairs


def change(title: str, phase: Phase, mode: Mode = Mode.TOGETHER, locks: str | None = "t") -> Change:
    return Change(title, phase, f"-- {title}", mode=mode, locks=locks)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            [change("a", Phase.COLUMN), change("b", Phase.COLUMN), change("c", Phase.GRANT)],
            ["expand: a, b and 1 more"],
        ),
        (
            [change("a", Phase.COLUMN), change("b", Phase.DROP_COLUMN)],
            ["expand: a", "contract: b"],
        ),
        (
            [change("a", Phase.COLUMN), change("b", Phase.COLUMN, Mode.ALONE)],
            ["expand: a", "expand: b"],
        ),
        (
            [change("a", Phase.BACKFILL, Mode.ALONE), change("b", Phase.BACKFILL, Mode.ALONE)],
            ["backfill: a", "backfill: b"],
        ),
        (
            [
                change("a", Phase.COLUMN),
                change("b", Phase.COLUMN, locks=None),
                change("c", Phase.COLUMN, locks="u"),
            ],
            ["expand: a, b", "expand: c"],
        ),
    ],
)
def test_neighbours_share_a_step_where_they_may(changes: list[Change], names: list[str]) -> None:
    assert names == [step.name for step in steps_of(changes)]


def test_a_step_becomes_the_owner_of_what_it_changes_and_comes_back() -> None:
    mine = Change("a", Phase.FUNCTION, "SELECT 1", owner="viral_auth")

    [step] = steps_of([mine, Change("b", Phase.FUNCTION, "SELECT 2")])

    assert [
        "SET LOCAL check_function_bodies = off;",
        "SET LOCAL ROLE viral_auth;",
        "SELECT 1;",
        "SET LOCAL ROLE viral_owner;",
        "SELECT 2;",
    ] == step.sql.split("\n\n")


def test_a_comment_is_changed_at_once() -> None:
    place = {"object": "table public.t", "target": "TABLE public.t"}
    old, new = (Entry("comment", "on t", {"text": text}, place) for text in ("old", "it's new"))

    assert (Phase.COMMENT, ["COMMENT ON TABLE public.t IS 'it''s new'"]) == altered(new, old)


def reference(of: str, to: str) -> Entry:
    place = {"table": f"public.{of}", "type": "f", "references": to}
    return Entry("constraint", f"public.{of}.fk", {"validated": "yes"}, place)


def test_tables_in_a_ring_are_made_with_all_references_but_one() -> None:
    ring = [reference("a", "b"), reference("b", "a")]
    tables = [Entry("table", f"public.{name}", {"owner": "viral_owner"}) for name in ("a", "b")]

    fresh = FreshTables({each.title: each for each in [*ring, *tables]}, {})

    assert [True, False] == [fresh.comes_along(each) for each in ring]
    assert [1, 0] == [fresh.position(each.name) for each in tables]


def view(name: str, definition: str) -> Entry:
    return Entry("view", f"public.{name}", {"definition": definition}, {"table": f"public.{name}"})


def test_views_know_how_many_stand_below_them() -> None:
    views = [view("a", "SELECT 1"), view("b", "SELECT a.x FROM a"), view("c", "SELECT b FROM b")]
    catalog = {each.title: each for each in views}

    assert [0, 1, 2] == [depth(each.title, catalog) for each in views]


def test_a_column_may_have_the_name_of_a_view() -> None:
    views = [view("a", "SELECT t.b FROM t"), view("b", "SELECT a.b FROM a")]
    catalog = {each.title: each for each in views}

    assert [1, 1] == [depth(each.title, catalog) for each in views]


def test_steps_of_one_name_are_numbered() -> None:
    steps = [Step("a", ""), Step("b", ""), Step("a", ""), Step("a", "")]

    assert ["a", "b", "a (2)", "a (3)"] == [step.name for step in with_unique_names(steps)]
