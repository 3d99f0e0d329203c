"""Every source of trends over real sockets: what it says, who asks, and how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes.trends import (
    ETAG,
    GNEWS_KEY,
    LAST_MODIFIED,
    REDDIT_SECRET,
    YOUTUBE_KEY,
    answered,
    item,
    post,
    rss,
)
from outside import replying, serving
from pydantic import SecretStr
from trend_desks import AT, CONTRACTS, CSV, KEYED, source

from viral.adapters.outgoing import Answer
from viral.adapters.trends.desk import TrendKeys, asked_wait_s
from viral.adapters.trends.feeds import searches_of
from viral.errors import BadFile, VendorRefused
from viral.features.trends.kinds import kind_of
from viral.features.trends.scores import measured_score, ranked_score

# What they say.


async def test_youtube_gives_what_is_watched_by_views_an_hour() -> None:
    async with source("youtube") as desk:
        reading = await desk.read()

    assert reading.rows is not None
    row = reading.rows[0]
    assert (row.topic, row.external_id, row.category) == ("One-pan dinners 1", "v1", "music")
    assert (row.keywords, row.engagement_count) == (("dinner", "onepan"), 1_000_000)
    assert row.url == "https://www.youtube.com/watch?v=v1"
    assert row.score == measured_score(100_000, full=1_000_000)
    assert reading.etag == ETAG


async def test_a_video_without_views_or_tags_is_weak_and_no_fault() -> None:
    plain = {"id": "v9", "snippet": {"title": "Quiet"}, "statistics": {}}
    async with source("youtube", {"items": [plain]}) as desk:
        reading = await desk.read()

    assert reading.rows is not None
    assert [(row.topic, row.score) for row in reading.rows] == [("Quiet", 0)]


async def test_gnews_gives_headlines_without_their_publisher() -> None:
    async with source("gnews") as desk:
        reading = await desk.read()

    assert reading.rows is not None
    first, second = reading.rows
    assert first.topic == "Parliament debates cheese number 1"
    assert (first.category, first.url) == ("finance", "https://daily.example/1")
    assert (first.score, second.score) == (ranked_score(0, 2), ranked_score(1, 2))
    assert first.engagement_count is None


async def test_reddit_gives_posts_by_upvotes_and_comments_an_hour() -> None:
    pinned, adult = post(3, stickied=True), post(4, over_18=True)
    listing = {"data": {"children": [pinned, post(1), adult]}}
    async with source("reddit", listing) as desk:
        reading = await desk.read()

    assert reading.rows is not None
    (row,) = reading.rows
    assert (row.external_id, row.engagement_count) == ("t3_1", 1_000)
    assert row.score == measured_score(1_000, full=20_000)
    assert row.url == "https://www.reddit.com/r/videos/comments/1/cat/"
    assert reading.left_out == 0


async def test_google_trends_gives_searches_with_their_number() -> None:
    async with source("google-trends") as desk:
        reading = await desk.read()

    assert reading.rows is not None
    first, second = reading.rows
    assert (first.topic, first.engagement_count) == ("night trains", 50_000)
    assert first.score == measured_score(50_000, full=2_000_000)
    assert (second.engagement_count, second.score) == (None, ranked_score(1, 2))


@pytest.mark.parametrize(
    ("text", "searches"),
    [("50K+", 50_000), ("2M+", 2_000_000), ("1,000+", 1_000), ("200", 200), ("1.5M+", 1_500_000)]
    + [(text, None) for text in ("", "many", "K+", "-5", "1.2.3", "९+")],
)
def test_a_rounded_number_is_read(text: str, searches: int | None) -> None:
    assert searches_of(text) == searches


async def test_a_feed_gives_entries_by_place_and_age() -> None:
    old = "<item><title>Yesterday</title><pubDate>Sun, 01 Mar 2026 10:00:00 GMT</pubDate></item>"
    atom = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>Yesterday</title>
    <updated>2026-03-01T10:00:00Z</updated></entry></feed>"""
    tagged = item("Cheap phones", "<category>Technology</category>")
    async with source("feed", rss(tagged, old)) as desk:
        reading = await desk.read()
        desk.fake.document = atom
        other = await desk.read()

    assert other.rows is not None
    assert [row.score for row in other.rows] == [50]
    assert reading.rows is not None
    assert [(row.topic, row.category, row.score) for row in reading.rows] == [
        ("Cheap phones", "tech", 70),
        ("Yesterday", "", 40),
    ]
    assert (reading.etag, reading.last_modified) == (ETAG, LAST_MODIFIED)


async def test_a_csv_of_this_machine_is_read_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(CSV + ",5\n")
    async with source("csv") as desk:
        first = await desk.read(url=str(file))
        again = await desk.read(url=str(file), etag=first.etag)
        os.utime(file, ns=(1, 1))
        changed = await desk.read(url=str(file), etag=first.etag)
        with pytest.raises(BadFile, match="No such file"):
            await desk.read(url=f"{file}x")

    assert first.rows is not None
    assert [row.topic for row in first.rows] == ["Night trains", "Old cameras"]
    assert first.left_out == 1
    assert again.rows is None
    assert changed.rows == first.rows
    assert desk.fake.asked == []


# Who asks, and how often.


@pytest.mark.parametrize("kind", CONTRACTS)
async def test_what_did_not_change_is_not_sent_again(kind: str) -> None:
    async with source(kind) as desk:
        first = await desk.read()
        again = await desk.read(etag=first.etag, last_modified=first.last_modified)

    assert first.rows
    assert len(first.rows) == 2
    assert (again.rows, again.refusal) == (None, None)
    headers = desk.fake.asked[-1].headers
    assert headers["if-none-match"] == ETAG
    assert headers["if-modified-since"] == LAST_MODIFIED


@pytest.mark.parametrize("kind", KEYED)
async def test_without_its_key_a_vendor_is_not_asked(kind: str) -> None:
    async with source(kind, keys=TrendKeys()) as desk:
        reading = await desk.read()

    assert reading.refusal is not None
    assert kind_of(kind).needs[0] in reading.refusal
    assert desk.fake.asked == []


@pytest.mark.parametrize("kind", KEYED)
async def test_a_key_goes_to_its_vendor_alone_and_never_into_an_address(kind: str) -> None:
    secrets = {YOUTUBE_KEY, GNEWS_KEY, REDDIT_SECRET}
    async with source(kind) as desk, serving(replying("{}")) as stranger:
        await desk.read()
        for url in (stranger.url, f"{desk.fake.url}.example/x", f"{desk.fake.url}@feed.example/"):
            with pytest.raises(VendorRefused, match="would send its key to another host"):
                await desk.read(url=url)

    assert stranger.requests == []
    told = [f"{each.path} {each.query}" for each in desk.fake.asked]
    assert not any(secret in text for secret in secrets for text in told)


@pytest.mark.parametrize("kind", KEYED)
async def test_a_wrong_key_is_said_without_the_key(kind: str) -> None:
    wrong = TrendKeys(
        youtube_api_key=SecretStr("wrong-key"),
        reddit_client_id="client",
        reddit_client_secret=SecretStr("wrong-key"),
        gnews_api_key=SecretStr("wrong-key"),
    )
    async with source(kind, keys=wrong) as desk:
        reading = await desk.read()

    assert reading.refusal is not None
    assert "its key is not accepted" in reading.refusal
    assert "wrong-key" not in reading.refusal


@pytest.mark.parametrize("kind", CONTRACTS)
async def test_a_wait_that_is_asked_for_is_told(kind: str) -> None:
    async with source(kind) as desk:
        desk.fake.answer = answered("429 Too Many Requests", head="retry-after: 120\r\n")
        reading = await desk.read()

    assert (reading.rows, reading.wait_s) == (None, 120)
    assert reading.refusal is not None
    assert "too many requests" in reading.refusal


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [("120", 120), ("Mon, 02 Mar 2026 10:02:00 GMT", 120), ("Mon, 02 Mar 2026 09:00:00 GMT", 0)]
    + [(text, 0) for text in ("", "soon", "-5", "1e9", "²")]
    + [("9" * 400, 9_999_999_999)],
)
def test_a_wait_is_seconds_or_a_moment(text: str, wait_s: float) -> None:
    assert asked_wait_s(Answer(429, {"retry-after": text}, b""), at=AT) == wait_s


async def test_a_used_up_quota_waits_for_the_vendors_midnight() -> None:
    spent = '{"error": {"code": 403, "errors": [{"reason": "quotaExceeded"}]}}'
    async with source("youtube") as youtube, source("gnews") as gnews:
        youtube.fake.answer = answered("403 Forbidden", spent)
        gnews.fake.answer = answered("403 Forbidden", '{"errors": ["used"]}')
        readings = [await youtube.read(), await gnews.read()]
        youtube.fake.answer = answered("403 Forbidden", "[" * 10_000)
        forbidden = await youtube.read()

    # Midnight in California is at 8:00 UTC in winter.
    assert [each.wait_s / 3600 for each in readings] == [22, 14]
    assert all("of this day are used" in (each.refusal or "") for each in readings)
    assert (forbidden.wait_s, forbidden.rows) == (0, None)
