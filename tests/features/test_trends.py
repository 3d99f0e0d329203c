"""Trends come in from CSV, JSON and feeds; what is broken or hostile is named and harms nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_trends, fetch, trend

from viral.database.engine import Database
from viral.errors import BadFile
from viral.features.trends import current_trends, files, import_trends, list_topics
from viral.features.trends.files import MIDDLE_SCORE, TrendsFile, read_trends

CSV = """Topic,Category,Score,Source,Keywords,URL
one-pan dinners,Food,90,trends,"onepan, Dinner",https://example.com/1
"cold, noodles",,,,,
"""

JSON = """[
  {"topic": "one-pan dinners", "category": "Food", "score": 90, "id": 7, "keywords": ["A", ""]},
  {"title": "cold noodles"},
  "plain words"
]"""

RSS = """<?xml version="1.0"?>
<rss version="2.0"><channel><title>Feed</title>
<item><title>One &amp; only dinners</title><link>https://example.com/1</link>
<guid>g1</guid><category>Food</category></item>
<item><title>Cold noodles</title><link>https://example.com/2</link></item>
</channel></rss>"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Feed</title>
<entry><title>Night trains</title><id>urn:1</id></entry></feed>"""


def read(tmp_path: Path, content: str | bytes, name: str = "list.txt") -> TrendsFile:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_trends(file, category="news")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_with_its_separator(tmp_path: Path, delimiter: str) -> None:
    found = read(tmp_path, f"\ufefftopic{delimiter}score\r\nnight trains{delimiter}7\r\n")

    assert [(row.topic, row.score, row.source) for row in found.rows] == [
        ("night trains", 7, "list")
    ]


def test_a_csv_gives_every_column(tmp_path: Path) -> None:
    first, second = read(tmp_path, CSV).rows

    assert (first.category, first.score, first.source) == ("food", 90, "trends")
    assert (first.keywords, first.url) == (("onepan", "dinner"), "https://example.com/1")
    assert (second.topic, second.category, second.score) == ("cold, noodles", "news", MIDDLE_SCORE)
    assert (second.source, second.external_id, second.url) == ("list", "cold, noodles", None)


def test_json_may_be_objects_or_plain_topics(tmp_path: Path) -> None:
    found = read(tmp_path, JSON)

    assert [row.topic for row in found.rows] == ["one-pan dinners", "cold noodles", "plain words"]
    assert (found.rows[0].external_id, found.rows[0].keywords) == ("7", ("a",))
    assert read(tmp_path, '{"trends": [{"topic": "x"}]}').rows[0].topic == "x"


def test_a_feed_gives_topics_with_falling_scores(tmp_path: Path) -> None:
    first, second = read(tmp_path, RSS).rows

    assert (first.topic, first.category, first.external_id) == ("One & only dinners", "food", "g1")
    assert (second.category, second.external_id) == ("news", "https://example.com/2")
    assert first.score > second.score
    assert read(tmp_path, ATOM).rows[0].topic == "Night trains"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"topic": " "}', "no topic"),
        ("null", "no topic"),
        ('{"topic": "\\u0000"}', "no topic"),
        ('{"topic": "%s"}' % ("x" * 501), "501 characters"),
        ('{"topic": "a", "score": "high"}', "'high' is not a number"),
        ('{"topic": "a", "score": [1]}', "not a number"),
        ('{"topic": "a", "score": NaN}', "not within"),
        ('{"topic": "a", "score": 101}', "not within"),
        ('{"topic": "a", "score": -1}', "not within"),
        ('{"topic": "a", "keywords": {"a": 1}}', "no list"),
        ('{"topic": "a", "keywords": 5}', "no list"),
        ('{"topic": "a", "url": "%s"}' % ("x" * 2001), "2001 characters"),
    ],
)
def test_a_broken_entry_is_named_and_the_others_are_in(
    tmp_path: Path, entry: str, reason: str
) -> None:
    found = read(tmp_path, f'[{{"topic": "good"}}, {entry}, {{"topic": "fine"}}]')

    assert [row.topic for row in found.rows] == ["good", "fine"]
    (reject,) = found.rejects
    assert reject.number == 2
    assert reason in reject.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column `topic`; it has none"),
        ("name,score\na,1\n", "it has name, score"),
        ("topic\n", "no usable trend"),
        ("topic\n" + "x" * 200_000, "no CSV in line 2"),
        ("[{", "not valid JSON"),
        ("[" * 200_000, "not valid JSON"),
        ('{"trends": 5}', "no list of trends"),
        ("<html><body>Hello</body></html>", "no usable trend"),
        ("<" * 100_000, "no usable trend"),
    ],
)
def test_an_unusable_file_says_what_is_wrong(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        read(tmp_path, content)


def test_a_missing_file_a_folder_and_an_endless_device_are_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "nowhere.csv", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "more than 5 MB"),
    ):
        with pytest.raises(BadFile, match=words):
            read_trends(path)


def test_entities_are_neither_expanded_nor_read_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    doctype = f'<!DOCTYPE r [<!ENTITY e0 "boom">{bomb}<!ENTITY f SYSTEM "file://{secret}">]>'
    items = "".join(f"<item><title>{t}</title></item>" for t in ("a &e9; b", "c &f; d", "good"))
    started = monotonic()

    found = read(tmp_path, f"<?xml version='1.0'?>{doctype}<rss><channel>{items}</channel></rss>")

    assert monotonic() - started < 10
    assert found.rows[-1].topic == "good"
    assert all("boom" not in row.topic and "secret" not in row.topic for row in found.rows)


def test_a_feed_that_never_closes_its_elements_ends(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        read(tmp_path, b"<rss><channel>" + b"<item><title>a" * 20_000)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="more than 5 MB"):
        read(tmp_path, b"topic\n" + b"a\n" * (files.LARGEST_FILE_BYTES // 2))


async def test_text_that_postgresql_cannot_store_is_cleaned(
    tmp_path: Path, system: Database, admin: AsyncConnection
) -> None:
    every = '"topic", "category", "source", "id", "url"'.replace(", ", ': "a\\u0000\\ud800b", ')
    found = read(tmp_path, f'[{{{every}: "a\\u0000b", "keywords": ["\\u0000k"]}}]')

    async with system.session_without_tenant() as session:
        await import_trends(session, found.rows, now=NOW)

    stored = "SELECT topic, category, source, external_id, url FROM trends"
    assert await fetch(admin, stored) == [("ab", "ab", "ab", "ab", None)]


async def test_a_trend_that_its_source_named_before_is_refreshed(
    system: Database, admin: AsyncConnection
) -> None:
    await add_trends(system, trend("Night trains", score=40), trend("Other"))

    await add_trends(
        system, trend("NIGHT trains", score=70, category="news"), now=NOW + timedelta(days=1)
    )

    stored = "SELECT topic, score, category, observed_at FROM trends ORDER BY score"
    assert (await fetch(admin, stored))[0] == ("NIGHT trains", 70, "news", NOW + timedelta(days=1))
    assert len(await fetch(admin, stored)) == 2


async def test_the_last_of_two_entries_with_one_id_counts(
    system: Database, admin: AsyncConnection
) -> None:
    await add_trends(system, trend("a", score=1), trend("A", score=2))

    assert await fetch(admin, "SELECT topic, score FROM trends") == [("A", 2)]


async def test_current_trends_are_of_the_category_where_it_has_any(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_trends(system, trend("weak food", score=10), trend("tech", category="tech", score=90))

    async with app.tenant_session(alice.id) as session:
        food = await current_trends(session, category="food")
        music = await current_trends(session, category="music")

    assert [brief.topic for brief in food] == ["weak food"]
    assert [brief.topic for brief in music] == ["tech", "weak food"]


async def test_trends_of_a_newer_day_come_first_then_the_stronger(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_trends(system, trend("old", score=99), now=NOW - timedelta(days=1))
    await add_trends(system, trend("weak", score=1), trend("strong", score=2))

    async with app.tenant_session(alice.id) as session:
        listed = await list_topics(session, limit=2)

    assert [each.trend.topic for each in listed] == ["strong", "weak"]
