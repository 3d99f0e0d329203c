"""Static files: kept for ever by their hash, and nothing beside them."""

from __future__ import annotations

import re

import pytest

from web.conftest import Browser


async def test_a_page_names_files_that_may_be_kept_for_ever(stranger: Browser) -> None:
    page = (await stranger.get("/")).text

    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(named) >= 4
    for address in named:
        answer = await stranger.get(address)

        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].split(";")[0] in {
            "text/css",
            "text/javascript",
            "image/svg+xml",
        }


@pytest.mark.parametrize("query", ["", "?v=", "?v=000000000000"])
async def test_another_version_is_not_kept(stranger: Browser, query: str) -> None:
    answer = await stranger.get(f"/static/viral.css{query}")

    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["nothing.css", "..%2fviews.py", "%2e%2e%2fviews.py", "..\\views.py", ".", "a%00.css"]
)
async def test_other_names_lead_nowhere(stranger: Browser, name: str) -> None:
    assert (await stranger.get(f"/static/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip, br", True),
        ("GZIP;q=0.5", True),
        ("br, gzip;q=1.0", True),
        ("identity", False),
        ("", False),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("x-gzip", False),
    ],
)
async def test_a_file_is_compressed_for_who_takes_that(
    stranger: Browser, accepted: str, *, is_compressed: bool
) -> None:
    plain = await stranger.get("/static/viral.css", **{"Accept-Encoding": "identity"})

    answer = await stranger.get("/static/viral.css", **{"Accept-Encoding": accepted})

    assert ("content-encoding" in answer.headers) == is_compressed
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == plain.content
    assert int(answer.headers["content-length"]) < len(plain.content) or not is_compressed
