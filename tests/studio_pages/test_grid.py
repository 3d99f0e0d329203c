"""Grids."""

from studio_pages.conftest import Visitor, words


async def test_x(alices):
    a = await alices.get("/tables/users")
    print(a.status_code, words(a)[:500])
    assert a.status_code == 200
