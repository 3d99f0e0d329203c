"""Reddit, the hot posts of one community, as an application of the operator's."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from viral.adapters.trends.desk import (
    OK,
    Desk,
    ask,
    decoded,
    hours_since,
    items_of,
    missing_key,
    not_taken,
    row_of,
    same_origin_only,
    taken,
)
from viral.errors import VendorRefused
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.scores import measured_score

if TYPE_CHECKING:
    from viral.features.trends import TrendRow

# Reddit throttles clients that do not name themselves.
USER_AGENT = "python:viral-dashboard:v1 (trends)"
_LARGEST_TOKEN = 4000


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _Post(msgspec.Struct, frozen=True):
    name: str
    title: str
    permalink: str = ""
    ups: int = 0
    num_comments: int = 0
    created_utc: float = 0.0
    over_18: bool = False
    stickied: bool = False


class _Child(msgspec.Struct, frozen=True):
    data: _Post


class _Posts(msgspec.Struct, frozen=True):
    children: list[msgspec.Raw]


class _Listing(msgspec.Struct, frozen=True):
    data: _Posts


async def read(asked: Asked, desk: Desk) -> Reading:
    """Read one list: two calls, as a token lasts an hour and a round is done in seconds.

    The score is of the upvotes and comments an hour. What is for adults, and what moderators
    pinned, is left out.
    """
    keys = desk.keys
    if keys.reddit_client_id is None or keys.reddit_client_secret is None:
        return missing_key(desk.kind)
    same_origin_only(asked, desk.kind)
    pair = f"{keys.reddit_client_id}:{keys.reddit_client_secret.get_secret_value()}"
    token = await desk.outgoing.request(
        "POST",
        desk.kind.token_url,
        headers={
            "authorization": f"Basic {b64encode(pair.encode()).decode()}",
            "user-agent": USER_AGENT,
        },
        form={"grant_type": "client_credentials"},
        is_idempotent=True,
    )
    if token.status != OK:
        refusal = not_taken(token, asked, desk.kind)
        return refusal or Reading(refusal="reddit gives no token.")
    bearer = decoded(token, _Token, desk.kind).access_token
    if not 0 < len(bearer) <= _LARGEST_TOKEN or not bearer.isascii() or not bearer.isprintable():
        raise VendorRefused("reddit gives a token that cannot be sent.")
    answer = await ask(
        asked,
        desk,
        params={"limit": str(desk.kind.most_items), "raw_json": "1"},
        headers={"authorization": f"Bearer {bearer}", "user-agent": USER_AGENT},
    )
    refusal = not_taken(answer, asked, desk.kind)
    if refusal is not None:
        return refusal
    posts = items_of(decoded(answer, _Listing, desk.kind).data.children, _Child)
    wanted = [each for each in posts if each is None or not _is_left_out(each.data)]
    rows = (None if each is None else _row(each.data, asked, desk) for each in wanted)
    return taken(answer, rows, desk.kind)


def _is_left_out(post: _Post) -> bool:
    return post.over_18 or post.stickied


def _row(post: _Post, asked: Asked, desk: Desk) -> TrendRow | None:
    acts = max(0, post.ups) + max(0, post.num_comments)
    try:
        posted = datetime.fromtimestamp(post.created_utc, UTC) if post.created_utc > 0 else None
    except (OverflowError, OSError, ValueError):
        posted = None
    age_h = max(1.0, hours_since(posted, at=asked.at))
    return row_of(
        topic=post.title,
        score=measured_score(acts / age_h, full=desk.kind.full),
        external_id=post.name,
        url=f"https://www.reddit.com{post.permalink}",
        engagement_count=acts,
    )
