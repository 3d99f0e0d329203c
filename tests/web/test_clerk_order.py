"""Clerk's webhooks in every order: the newest stands, and who is out stays out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import permutations
from pathlib import Path

import pytest
from clusters import Cluster, count_rows
from fakes.clerk import FakeClerk
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.clerk_site import (
    ClerkSite,
    Told,
    clerk_site,
    deliver_all,
    member,
    moment,
    new_people,
    state_of,
    tell,
)


@pytest.fixture
def clerk() -> Iterator[FakeClerk]:
    with FakeClerk() as clerk:
        yield clerk


@pytest.fixture
async def site(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk
) -> AsyncIterator[ClerkSite]:
    async with clerk_site(cluster, short_folder / "home", database_name, clerk) as site:
        yield site


async def test_events_about_one_thing_at_one_moment_do_not_cross(
    site: ClerkSite, system: Database
) -> None:
    for number in range(4):
        ada, acme = new_people(site, number)
        told: list[Told] = [
            ("user.created", ada, 1),
            ("organization.created", acme, 1),
            member(site, "created", acme, ada, at_s=2),
            member(site, "updated", acme, ada, at_s=3, role="org:admin"),
            member(site, "deleted", acme, ada, at_s=4),
        ]
        await asyncio.gather(*(tell(site, each) for each in told))

        assert await state_of(system, acme) == (acme["name"], [])


async def test_all_orders_of_a_persons_events_end_alike(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ends = set()
    for number, order in enumerate(permutations(range(3))):
        ada, acme = new_people(site, number)
        told: list[Told] = [
            ("user.created", ada | {"updated_at": moment(1)}, 1),
            ("user.updated", ada | {"first_name": "Augusta", "updated_at": moment(2)}, 2),
            ("user.deleted", {"id": ada["id"], "deleted": True}, 3),
        ]
        await deliver_all(site, told, order)
        del site.clerk.users[ada["id"]]

        ends.add((await site.get(site.token(ada))).status_code)
        ends.add((await site.get(site.token(ada, acme))).status_code)
    assert ends == {401}
    assert await count_rows(admin, "users WHERE clerk_id IS NOT NULL") == 0
    assert await count_rows(admin, "tenants") == 0


async def test_the_last_change_of_a_person_stands_in_whatever_order_they_come(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    for number, order in enumerate(permutations(range(3))):
        ada, _ = new_people(site, number)
        names = ("First", "Second", "Third")
        told: list[Told] = [
            ("user.updated", ada | {"first_name": name, "updated_at": moment(at_s)}, 9)
            # A fraction of a second, too, is a time.
            for name, at_s in zip(names, (1, 2, 2.5), strict=True)
        ]
        await deliver_all(site, told, order)

    names_kept = await admin.execute(text("SELECT DISTINCT name FROM users"))
    assert list(names_kept) == [("Third Lovelace",)]


async def test_all_orders_of_a_memberships_events_end_alike(
    site: ClerkSite, system: Database
) -> None:
    for number, order in enumerate(permutations(range(4))):
        ada, acme = new_people(site, number)
        told: list[Told] = [
            ("organization.updated", acme | {"name": f"New {number}", "updated_at": moment(5)}, 5),
            member(site, "created", acme, ada, at_s=2),
            member(site, "updated", acme, ada, at_s=3, role="org:admin"),
            member(site, "deleted", acme, ada, at_s=4),
        ]
        await deliver_all(site, told, order)

        assert await state_of(system, acme) == (f"New {number}", []), order


async def test_a_role_is_the_newest_one_in_whatever_order_they_come(
    site: ClerkSite, system: Database
) -> None:
    for number, order in enumerate(permutations(range(3))):
        ada, acme = new_people(site, number)
        told: list[Told] = [
            member(site, "created", acme, ada, at_s=1),
            member(site, "updated", acme, ada, at_s=2, role="org:admin"),
            member(site, "updated", acme, ada, at_s=3),
        ]
        await deliver_all(site, told, order)

        assert await state_of(system, acme) == (
            acme["name"],
            [(f"ada-{number}@example.com", "MEMBER")],
        )


async def test_an_end_wins_over_a_change_of_the_same_moment(
    site: ClerkSite, system: Database
) -> None:
    for number, order in enumerate(permutations(range(2))):
        ada, acme = new_people(site, number)
        told: list[Told] = [
            member(site, "updated", acme, ada, at_s=3),
            member(site, "deleted", acme, ada, at_s=3),
        ]
        await deliver_all(site, told, order)

        assert (await state_of(system, acme, must_be=False))[1] == []


@pytest.mark.parametrize("kind", ["organization.deleted", "user.deleted"])
async def test_a_late_membership_opens_nothing_that_is_gone(
    site: ClerkSite, system: Database, kind: str
) -> None:
    for number, order in enumerate(permutations(range(3))):
        ada, acme = new_people(site, number)
        gone = acme if kind.startswith("organization") else ada
        told: list[Told] = [
            member(site, "created", acme, ada, at_s=2),
            member(site, "updated", acme, ada, at_s=9, role="org:admin"),
            (kind, {"id": gone["id"], "deleted": True}, 5),
        ]
        await deliver_all(site, told, order)

        assert (await state_of(system, acme, must_be=False))[1] == []
        assert (await site.get(site.token(ada, acme))).status_code == 401


async def test_events_without_a_time_never_bring_anybody_back(
    site: ClerkSite, system: Database
) -> None:
    for number, order in enumerate(permutations(range(2))):
        ada, acme = new_people(site, number)
        gone, undated = member(site, "deleted", acme, ada), member(site, "created", acme, ada)
        undated[1]["updated_at"] = gone[1]["updated_at"] = None
        told: list[Told] = [(undated[0], undated[1], None), (gone[0], gone[1], None)]
        await deliver_all(site, told, order)

        assert (await state_of(system, acme, must_be=False))[1] == []
        assert (await site.get(site.token(ada, acme))).status_code == 401
