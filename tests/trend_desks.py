"""Sources of trends on this machine, each with the reader that asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fakes.trends import (
    ETAG,
    GNEWS_KEY,
    REDDIT_ID,
    REDDIT_SECRET,
    YOUTUBE_KEY,
    FakeSource,
    article,
    fake_source,
    item,
    knows_gnews,
    knows_reddit,
    knows_youtube,
    post,
    rss,
    video,
)
from outside import PUBLIC, calling
from pydantic import SecretStr

from viral.adapters.trends.desk import TrendKeys
from viral.adapters.trends.reader import TrendReader
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.kinds import kind_of, kinds

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
KEYS = TrendKeys(
    youtube_api_key=SecretStr(YOUTUBE_KEY),
    reddit_client_id=REDDIT_ID,
    reddit_client_secret=SecretStr(REDDIT_SECRET),
    gnews_api_key=SecretStr(GNEWS_KEY),
)
VIDEOS = {"kind": "youtube#videoListResponse", "etag": ETAG, "items": [video(1), video(2)]}
ARTICLES = {"totalArticles": 2, "articles": [article(1), article(2)]}
POSTS = {"kind": "Listing", "data": {"children": [post(1), post(2)]}}
FEED = rss(item("Night trains"), item("Old cameras"))
SEARCHES = rss(item("night trains", "<ht:approx_traffic>50K+</ht:approx_traffic>"), item("rain"))
CSV = "topic,score\nNight trains,70\nOld cameras,60\n"
# What each kind of source is asked for, who may ask, and what it says.
CONTRACTS: dict[str, tuple[str, Callable[..., bool], object]] = {
    "youtube": ("/youtube/v3/videos?chart=mostPopular&regionCode=US", knows_youtube, VIDEOS),
    "gnews": ("/api/v4/top-headlines?category=business", knows_gnews, ARTICLES),
    "reddit": ("/r/videos/hot", knows_reddit, POSTS),
    "google-trends": ("/trending/rss?geo=US", lambda _: True, SEARCHES),
    "feed": ("/feed", lambda _: True, FEED),
    "csv": ("/list.csv", lambda _: True, CSV),
}
KEYED = [name for name in CONTRACTS if kind_of(name).needs]


@dataclass
class Desk:
    """A source of one kind, and the reader that asks it."""

    kind: str
    fake: FakeSource
    reader: TrendReader
    url: str

    async def read(self, **changed: object) -> Reading:
        asked = Asked(
            name="mine",
            kind=self.kind,
            url=self.url,
            category=None,
            region=None,
            etag=None,
            last_modified=None,
            failures=0,
            at=AT,
        )
        return await self.reader.read(replace(asked, **changed))  # type: ignore[arg-type]  # fields of it


@asynccontextmanager
async def source(
    kind: str, document: object = None, *, keys: TrendKeys = KEYS, timeout_s: float = 5.0
) -> AsyncIterator[Desk]:
    """Serve a source: vendors with a key where they are, others as a public name."""
    path, check, usual = CONTRACTS[kind]
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(
            fake_source(check, usual if document is None else document, is_conditional=True)
        )
        public = "http://feed.example"
        outgoing = await stack.enter_async_context(
            calling(
                fake.server,
                names={"feed.example": [PUBLIC], "inside.example": ["10.0.0.5"]},
                found={PUBLIC: fake.server},
                timeout_s=timeout_s,
                retries=0,
            )
        )
        base = fake.url if kind in KEYED else public
        known = {
            each.name: replace(
                each, url=f"{fake.url}/{{section}}", token_url=f"{fake.url}/api/v1/access_token"
            )
            if each.needs
            else each
            for each in kinds().values()
        }
        yield Desk(kind, fake, TrendReader(outgoing, keys, known), base + path)
