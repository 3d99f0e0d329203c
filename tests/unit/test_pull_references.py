"""Foreign keys stand in a class only where their table can be made with them."""

from __future__ import annotations

from viral.database.catalog import Entry
from viral.database.pull.entries import tables_of
from viral.database.pull.references import postponed


def table(name: str) -> Entry:
    place = {"table": f"public.{name}", "schema": "public", "bare": name}
    return Entry("table", f"public.{name}", {"owner": "viral_owner"}, place)


def reference(table: str, other: str) -> Entry:
    return Entry(
        "constraint",
        f"public.{table}.to_{other}",
        {"definition": f"FOREIGN KEY (a) REFERENCES {other}(id)", "validated": "yes"},
        {"table": f"public.{table}", "type": "f", "references": other},
    )


def test_only_circles_and_keys_to_what_is_not_pulled_wait() -> None:
    entries = [
        *(table(name) for name in ("a", "b", "c")),
        reference("a", "b"),
        reference("b", "a"),
        reference("c", "a"),
        reference("c", "elsewhere"),
    ]
    catalog = {entry.title: entry for entry in entries}

    assert postponed(tables_of(catalog), catalog) == {
        "constraint public.a.to_b",
        "constraint public.b.to_a",
        "constraint public.c.to_elsewhere",
    }
