"""YouTube, Reddit, GNews and feeds on 127.0.0.1: each refuses what the real one would.

The shapes follow the vendors' documentation; nothing here comes from the code under test.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from outside import Fake, Reply, serving

Document = object
YOUTUBE_KEY, GNEWS_KEY = "AIza-of-the-fake", "gnews-of-the-fake"
REDDIT_ID, REDDIT_SECRET, REDDIT_TOKEN = "client", "reddit-secret", "token-of-the-hour"
ETAG, LAST_MODIFIED = '"v1"', "Mon, 02 Mar 2026 08:00:00 GMT"
# Some hours before it, so that ages are whole numbers.
AT = "2026-03-02T10:00:00Z"


def video(number: int = 1, **changed: object) -> dict[str, object]:
    """Make an item of videos.list: 1,000,000 views in ten hours."""
    snippet = {
        "title": f"One-pan dinners {number}",
        "publishedAt": "2026-03-02T00:00:00Z",
        "categoryId": "10",
        "tags": ["Dinner", "onepan"],
    }
    item = {"id": f"v{number}", "snippet": snippet, "statistics": {"viewCount": "1000000"}}
    return item | changed


def article(number: int = 1, **changed: object) -> dict[str, object]:
    """Make an article of GNews."""
    return {
        "title": f"Parliament debates cheese number {number} - The Daily",
        "description": "...",
        "url": f"https://daily.example/{number}",
        "publishedAt": AT,
        "source": {"name": "The Daily", "url": "https://daily.example"},
    } | changed


def post(number: int = 1, **changed: object) -> dict[str, object]:
    """Make a post of Reddit: 900 upvotes and 100 comments in an hour."""
    data = {
        "name": f"t3_{number}",
        "title": f"Cat rides robot {number}",
        "permalink": f"/r/videos/comments/{number}/cat/",
        "ups": 900,
        "num_comments": 100,
        "created_utc": 1772442000.0,
        "over_18": False,
        "stickied": False,
    }
    return {"kind": "t3", "data": data | changed}


def rss(*items: str) -> str:
    """Make a feed of items, in the namespace that Google Trends uses too."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"'
        ' xmlns:ht="https://trends.google.com/trending/rss"><channel><title>Feed</title>'
        f"{''.join(items)}</channel></rss>"
    )


def item(title: str, *more: str, guid: str = "") -> str:
    """Make an item of a feed."""
    return (
        f"<item><title>{title}</title><guid>{guid or title}</guid>"
        f"<pubDate>Mon, 02 Mar 2026 10:00:00 +0000</pubDate>{''.join(more)}</item>"
    )


def answered(
    status: str, body: str | bytes = "", *, head: str = "", claimed: int | None = None
) -> bytes:
    """Write an answer; `claimed` is a length that is not the body's."""
    raw = body.encode() if isinstance(body, str) else body
    length = len(raw) if claimed is None else claimed
    return f"HTTP/1.1 {status}\r\n{head}content-length: {length}\r\n\r\n".encode() + raw


@dataclass
class Asked:
    """A request as it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str


@dataclass
class FakeSource:
    """A vendor that checks who asks, and gives `document`, or `answer` as it is."""

    check: Callable[[Asked], bool] = lambda _: True
    document: Document = None
    # A whole answer, or what writes one, in place of the document.
    answer: bytes | Reply | None = None
    is_conditional: bool = False
    asked: list[Asked] = field(default_factory=list)
    server: Fake = field(default_factory=Fake)

    @property
    def url(self) -> str:
        return self.server.url

    async def reply(self, request: str, writer: asyncio.StreamWriter) -> None:
        asked = _read(request)
        self.asked.append(asked)
        if asked.path == "/api/v1/access_token":
            writer.write(_token(asked))
        elif not self.check(asked):
            writer.write(answered("401 Unauthorized", '{"error": "who are you?"}'))
        elif isinstance(self.answer, bytes):
            writer.write(self.answer)
        elif self.answer is not None:
            await self.answer(request, writer)
        elif self.is_conditional and asked.headers.get("if-none-match") == ETAG:
            writer.write(answered("304 Not Modified"))
        else:
            is_text = isinstance(self.document, str)
            body = str(self.document) if is_text else json.dumps(self.document)
            head = f"etag: {ETAG}\r\nlast-modified: {LAST_MODIFIED}\r\n"
            writer.write(answered("200 OK", body, head=head))


@asynccontextmanager
async def fake_source(
    check: Callable[[Asked], bool] = lambda _: True,
    document: Document = None,
    *,
    is_conditional: bool = False,
) -> AsyncIterator[FakeSource]:
    """Serve a source on a free port."""
    fake = FakeSource(check, document, is_conditional=is_conditional)
    async with serving(fake.reply) as server:
        fake.server = server
        yield fake


def knows_youtube(asked: Asked) -> bool:
    """Whether YouTube would answer: with the key and the parameters it needs."""
    return (
        asked.path == "/youtube/v3/videos"
        and asked.headers.get("x-goog-api-key") == YOUTUBE_KEY
        and asked.query.get("chart") == "mostPopular"
        and asked.query.get("part") == "snippet,statistics"
    )


def knows_gnews(asked: Asked) -> bool:
    """Whether GNews would answer."""
    return (
        asked.path == "/api/v4/top-headlines"
        and asked.headers.get("x-api-key") == GNEWS_KEY
        and 1 <= int(asked.query["max"]) <= 100
    )


def knows_reddit(asked: Asked) -> bool:
    """Whether Reddit would answer: with the hour's token and a name."""
    return (
        asked.path == "/r/videos/hot"
        and asked.headers.get("authorization") == f"Bearer {REDDIT_TOKEN}"
        and ":" in asked.headers.get("user-agent", "")
    )


async def drip(_: str, writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def _token(asked: Asked) -> bytes:
    pair = b64encode(f"{REDDIT_ID}:{REDDIT_SECRET}".encode()).decode()
    is_known = asked.headers.get("authorization") == f"Basic {pair}"
    if not is_known or asked.body != "grant_type=client_credentials":
        return answered("401 Unauthorized", '{"message": "Unauthorized", "error": 401}')
    return answered("200 OK", json.dumps({"access_token": REDDIT_TOKEN, "expires_in": 3600}))


def _read(request: str) -> Asked:
    head, _, body = request.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    parts = urlsplit(first.split(" ")[1])
    headers = dict(line.split(": ", 1) for line in lines)
    return Asked(
        path=parts.path,
        query={name: values[0] for name, values in parse_qs(parts.query).items()},
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
    )
