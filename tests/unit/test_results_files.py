"""Files of results: good rows come through, bad ones are named with a reason."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest

from viral.errors import BadFile
from viral.features.performance.files import Reject, ResultsFile, read_results

DATA = Path(os.environ.get("VIRAL_BENCH_DATA") or Path(__file__).parents[3] / "shared" / "data")
TODAY = date(2026, 3, 1)
COLUMNS = ("id", "platform", "published_at", "views", "likes", "title", "concept_id", "observed_on")
GOOD = ("v1", "tiktok", "2026-01-31T18:30:00Z", "1200", "90", "Cake", "", "")


def cells(**changed: str) -> bytes:
    """Give a good row as CSV, with some cells changed."""
    values = dict(zip(COLUMNS, GOOD, strict=True)) | changed
    return ",".join(values.values()).encode("utf-8", "surrogateescape")


def read(
    tmp_path: Path, *lines: bytes, name: str = "results.csv", end: bytes = b"\n"
) -> ResultsFile:
    file = tmp_path / name
    file.write_bytes(end.join(lines) + end)
    return read_results(file, today=TODAY)


def read_csv(tmp_path: Path, *lines: bytes) -> ResultsFile:
    return read(tmp_path, ",".join(COLUMNS).encode(), *lines)


BROKEN_ROWS = [
    ("id", "is missing", cells(id="")),
    ("id", "200", cells(id="x" * 201)),
    ("platform", "is missing", cells(platform=" ")),
    ("platform", "no known platform", cells(platform="myspace")),
    ("published_at", "is missing", cells(published_at="")),
    ("published_at", "no date", cells(published_at="31/01/2026")),
    ("published_at", "no date", cells(published_at="2026-02-30")),
    ("published_at", "no date", cells(published_at="0001-01-01T00:00+14:00")),
    ("published_at", "future", cells(published_at="2026-03-02")),
    ("published_at", "before 2005", cells(published_at="1970-01-01")),
    ("observed_on", "no date", cells(observed_on="soon")),
    ("observed_on", "future", cells(observed_on="2026-03-02")),
    ("observed_on", "before published_at", cells(observed_on="2026-01-30")),
    ("views", "is missing", cells(views="")),
    ("views", "negative", cells(views="-1")),
    ("views", "fraction", cells(views="12.5")),
    ("views", "no number", cells(views="many")),
    ("views", "no number", cells(views="NaN")),
    ("views", "no number", cells(views="१२")),
    ("views", "shortened", cells(views="1.2M")),
    ("views", "shortened", cells(views="1E+06")),
    ("views", "separators", cells(views='"1,234,567"')),
    ("views", "larger than", cells(views=str(2**63))),
    ("views", "larger than", cells(views="9" * 5000)),
    ("likes", "negative", cells(likes="-7")),
    ("title", "5000", cells(title="x" * 5001)),
    ("title", "NUL", cells(title="a\x00b")),
    ("title", "UTF-8", cells(title="caf\udce9")),
    ("concept_id", "no UUID", cells(concept_id="42")),
    ("", "too few columns: 3", b"v1,tiktok,2026-01-31"),
    ("", "too many columns: 9", cells() + b",more"),
    ("", "quote", cells(title='"Cake')),
    ("", "quote", cells(title='"Cake" again')),
    ("", "too long", cells(title="x" * 140_000)),
]


@pytest.mark.parametrize(("column", "reason", "line"), BROKEN_ROWS)
def test_a_broken_row_is_named_with_line_column_and_reason(
    tmp_path: Path, column: str, reason: str, line: bytes
) -> None:
    results = read_csv(tmp_path, cells(id="v0"), line, cells(id="v2"))

    assert [row.external_id for row in results.rows] == ["v0", "v2"]
    (reject,) = results.rejects
    assert (reject.line, reject.column) == (3, column)
    assert reason in reject.reason
    assert len(reject.value) <= 60
    reject.value.encode()


def test_all_kinds_of_broken_rows_in_one_file_leave_the_good_ones(tmp_path: Path) -> None:
    lines = []
    for place, (_, _, line) in enumerate(BROKEN_ROWS):
        lines += [line, cells(id=f"good{place}")]

    results = read_csv(tmp_path, *lines)

    assert [row.external_id for row in results.rows] == [
        f"good{n}" for n in range(len(BROKEN_ROWS))
    ]
    assert [reject.line for reject in results.rejects] == list(
        range(2, 2 * len(BROKEN_ROWS) + 2, 2)
    )
    assert len({reject.reason for reject in results.rejects}) >= 20


def test_a_video_stands_once_for_each_day(tmp_path: Path) -> None:
    results = read_csv(
        tmp_path,
        cells(observed_on="2026-02-01"),
        cells(observed_on="2026-02-02"),
        cells(observed_on="2026-02-01", views="5"),
        cells(observed_on="2026-02-01", platform="youtube"),
    )

    assert len(results.rows) == 3
    assert results.rejects == [
        Reject(4, "id", "v1", "is in line 2 already for that platform and day: keep one of them")
    ]


def test_a_full_row_arrives_typed(tmp_path: Path) -> None:
    header = (
        b"External ID;Platform;published_at;observed_on;tenant;concept_id;category;title;tags;"
        b"duration_s;views;likes;comments;shares;followers;sound;hook_type;extra"
    )
    line = (
        "x;tiktok;2026-01-31T20:30:00+02:00;2026-02-03T10:00:00Z;t;"
        '0197a4f0-0000-7000-8000-000000000001;Food;"My ""best"" Süppchen;\nagain";#a| b ||;'
        "31;12.0;0;1;2;3;original;question;9"
    )

    (row,) = read(tmp_path, header, line.encode()).rows

    assert row.external_id == "x"
    assert row.published_at == datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    assert row.observed_on == date(2026, 2, 3)
    assert row.concept_id == UUID("0197a4f0-0000-7000-8000-000000000001")
    assert (row.tenant, row.category, row.tags) == ("t", "food", ("#a", "b"))
    assert row.title == 'My "best" Süppchen;\nagain'
    assert (row.duration_s, row.views, row.likes, row.comments, row.shares) == (31, 12, 0, 1, 2)
    assert (row.followers, row.sound, row.hook_type, row.line) == (3, "original", "question", 2)


def test_what_is_not_available_is_none_and_not_zero(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"id,platform,published_at,views,likes", b"x,ig,2026-01-31,0,").rows

    assert (row.views, row.likes, row.comments, row.followers, row.sound) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert (row.category, row.title, row.tags, row.tenant) == ("other", "", (), None)
    assert row.observed_on == TODAY
    assert row.published_at == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "platform", "video_format"),
    [
        ("TikTok", "tiktok", None),
        ("youtube", "youtube", None),
        ("youtube-shorts", "youtube", "shorts"),
        ("youtube_shorts", "youtube", "shorts"),
        ("YouTube Shorts", "youtube", "shorts"),
        ("shorts", "youtube", "shorts"),
        ("instagram-reels", "instagram", "reels"),
        ("reels", "instagram", "reels"),
    ],
)
def test_platform_names_of_exports_are_understood(
    tmp_path: Path, written: str, platform: str, video_format: str | None
) -> None:
    (row,) = read_csv(tmp_path, cells(platform=written)).rows

    assert (row.platform, row.format) == (platform, video_format)


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_separators_line_ends_and_the_mark_of_excel_are_recognised(
    tmp_path: Path, delimiter: bytes, end: bytes
) -> None:
    header = b"\xef\xbb\xbf" + ",".join(COLUMNS).encode()
    lines = [line.replace(b",", delimiter) for line in (header, cells(), b"", cells(id="v2"))]

    results = read(tmp_path, *lines, end=end)

    assert [row.external_id for row in results.rows] == ["v1", "v2"]
    assert results.rejects == []


def test_json_and_json_lines_read_like_csv(tmp_path: Path) -> None:
    video = {
        "id": 7,
        "platform": "tiktok",
        "published_at": "2026-01-31",
        "views": 12,
        "likes": None,
    }
    tagged = video | {"id": "8", "tags": ["a", "b"], "views": "13", "extra": {"any": 1}}
    lines = [json.dumps(entry).encode() for entry in (video, tagged)]

    listed = read(tmp_path, b"[" + b",".join(lines) + b"]", name="a.json")
    lined = read(tmp_path, *lines, name="a.jsonl")

    assert listed.rows == lined.rows
    assert [(row.external_id, row.views, row.likes, row.tags) for row in lined.rows] == [
        ("7", 12, None, ()),
        ("8", 13, None, ("a", "b")),
    ]


@pytest.mark.parametrize(
    ("column", "entry"),
    [
        ("", b"{not json"),
        ("", b"[1, 2]"),
        ("", b"[" * 100_000),
        (
            "views",
            b'{"id": "x", "platform": "tiktok", "published_at": "2026-01-31", "views": true}',
        ),
        ("views", b'{"id": "x", "platform": "tiktok", "published_at": "2026-01-31", "views": 1.5}'),
        (
            "title",
            b'{"id": "x", "platform": "ig", "published_at": "2026-01-31", "views": 1, "title": {}}',
        ),
        ("id", b'{"id": "\\ud800", "platform": "ig", "published_at": "2026-01-31", "views": 1}'),
    ],
)
def test_a_broken_json_line_is_named(tmp_path: Path, column: str, entry: bytes) -> None:
    good = b'{"id": "1", "platform": "tiktok", "published_at": "2026-01-31", "views": 1}'

    results = read(tmp_path, good, entry, good.replace(b'"1"', b'"2"'), name="a.jsonl")

    assert [row.external_id for row in results.rows] == ["1", "2"]
    assert [(reject.line, reject.column) for reject in results.rejects] == [(2, column)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b" \n", "is empty"),
        ("headless.csv", b"v1,tiktok,2026-01-31,5\n", "lacks the columns id, platform"),
        ("lacking.csv", b"id,platform,when\n", "published_at, views; found: id, platform, when"),
        ("twice.csv", b"id,platform,published_at,views,Views\n", "the column views twice"),
        ("wide.csv", "id,views\n".encode("utf-16"), "UTF-16"),
        ("broken.json", b"[{", "is no JSON"),
        ("object.json", b"{}", "holds no list"),
        ("lacking.json", b'[{"id": 1}]', "lacks the columns platform"),
        ("lacking.jsonl", b'{"id": 1}\n', "lacks the columns platform"),
        ("binary.csv", bytes(range(256)), "lacks the columns"),
    ],
)
def test_an_unusable_file_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BadFile, match=words) as raised:
        read_results(tmp_path / name)

    assert name in raised.value.message
    raised.value.message.encode()


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="There is no file"):
        read_results(tmp_path / "nowhere.csv")
    with pytest.raises(BadFile, match="is a folder"):
        read_results(tmp_path)


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_bytes(",".join(COLUMNS).encode() + b"\n" + cells() + b"\n")
    steps: list[tuple[int, int]] = []

    read_results(file, today=TODAY, progress=lambda done, total: steps.append((done, total)))

    assert steps[-1] == (3, 3)


@pytest.mark.parametrize("name", ["tiktok2020.csv", "yt_channels.csv", "yt_trending2020.csv"])
def test_the_development_data_have_no_rejects(name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"no {name} in {DATA}; name the folder in VIRAL_BENCH_DATA")

    assert read_results(DATA / name).rejects == []
