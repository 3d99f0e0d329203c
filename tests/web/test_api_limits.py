"""How often: turns a key, a person, a tenant and an address have, over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.settings import Settings
from web.conftest import ADDRESS, Browser, browsing, serving, sign_in
from web.programs import add_person, browsing_as, make_key, running

TENANT = "/api/v1/tenant"


def limited(settings: Settings, **limits: int | str) -> Settings:
    return settings.model_copy(update=limits)


async def burst(clients: Sequence[httpx.AsyncClient], count: int) -> list[httpx.Response]:
    """Ask for the tenant so often at once, by turns from each client."""
    return await asyncio.gather(
        *(clients[number % len(clients)].get(TENANT) for number in range(count))
    )


def passed(answers: Sequence[httpx.Response]) -> int:
    """Count what was let through; whatever was not says when to come back."""
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["retry-after"] in answer.json()["hint"]
    return sum(answer.status_code == 200 for answer in answers)


async def forget_turns(admin: AsyncConnection) -> None:
    """Let everybody have all of their turns."""
    await admin.execute(text("DELETE FROM viral.rate_limits"))
    await admin.commit()


@asynccontextmanager
async def keys_of(
    settings: Settings, system: Database, people: Sequence[TestTenant]
) -> AsyncIterator[list[str]]:
    """Make a key for each person, before any limit holds."""
    async with AsyncExitStack() as stack:
        application = await stack.enter_async_context(serving(settings))
        browsers = [
            await stack.enter_async_context(browsing_as(application, system, person))
            for person in people
        ]
        yield [await make_key(browser) for browser in browsers]


async def test_c12_a_key_has_turns_of_its_own(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with keys_of(settings, system, [alice, alice]) as (first, second):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, key_requests=10)) as application,
        running(application, first) as robot,
        running(application, second) as another,
    ):
        answers = await burst([robot], 25)

        assert passed(answers) in {10, 11}
        assert passed(await burst([another], 5)) == 5


async def test_c12_two_processes_stay_within_one_limit_together(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with keys_of(settings, system, [alice]) as (key,):
        pass
    await forget_turns(admin)
    narrow = limited(settings, key_requests=10)
    async with (
        serving(narrow) as first,
        serving(narrow) as second,
        running(first, key) as here,
        running(second, key) as there,
    ):
        answers = await burst([here, there], 40)

    assert passed(answers) in {10, 11}
    assert passed(answers[::2]) > 0
    assert passed(answers[1::2]) > 0


async def test_c12_a_person_has_turns_over_all_their_keys_and_sessions(
    settings: Settings,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    async with keys_of(settings, system, [alice, alice, bob]) as (first, second, bobs):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, user_requests=10)) as application,
        running(application, first) as robot,
        running(application, second) as another,
        running(application, bobs) as stranger,
    ):
        assert passed(await burst([robot, another], 30)) in {10, 11}
        assert passed(await burst([stranger], 5)) == 5


async def test_c12_a_person_has_turns_over_all_their_tenants(
    settings: Settings,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")
    there = TestTenant(bob.id, bob.slug, alice.user_id)
    async with keys_of(settings, system, [alice, there]) as (first, second):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, user_requests=10)) as application,
        running(application, first) as robot,
        running(application, second) as another,
    ):
        assert passed(await burst([robot, another], 30)) in {10, 11}


async def test_c12_a_tenant_has_turns_over_all_its_people_and_no_others(
    settings: Settings,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    carol = await add_person(system, alice, "carol")
    async with keys_of(settings, system, [alice, carol, bob]) as (first, second, bobs):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, tenant_requests=10)) as application,
        running(application, first) as robot,
        running(application, second) as another,
        running(application, bobs) as stranger,
    ):
        assert passed(await burst([robot, another], 30)) in {10, 11}
        assert passed(await burst([stranger], 5)) == 5


async def test_c12_an_address_has_turns_whoever_asks(
    settings: Settings,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    async with keys_of(settings, system, [alice, bob]) as (first, second):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, address_requests=10)) as application,
        running(application, first, peer="10.1.1.1") as robot,
        running(application, second, peer="10.1.1.1") as neighbour,
        running(application, second, peer="10.1.1.2") as stranger,
    ):
        assert passed(await burst([robot, neighbour], 30)) in {10, 11}
        assert passed(await burst([stranger], 5)) == 5


async def test_c12_an_address_that_guesses_keys_runs_out_of_turns(
    settings: Settings, admin: AsyncConnection
) -> None:
    async with (
        serving(limited(settings, address_requests=5)) as application,
        running(application, "vd_live_guess") as robot,
    ):
        statuses = [(await robot.get(TENANT)).status_code for _ in range(8)]

    assert statuses == [401] * 5 + [429] * 3
    stored = await admin.scalar(text("SELECT string_agg(bucket, ' ') FROM viral.rate_limits"))
    assert "127.0.0.1" not in str(stored)


async def test_c12_a_caller_cannot_choose_an_address(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with keys_of(settings, system, [alice]) as (key,):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, address_requests=5)) as application,
        running(application, key, peer="10.1.1.1") as robot,
    ):
        answers = [
            await robot.get(
                TENANT,
                headers={
                    "X-Forwarded-For": f"10.2.2.{number}",
                    "Forwarded": f"for=10.2.2.{number}",
                },
            )
            for number in range(8)
        ]

    assert passed(answers) in {5, 6}


async def test_c12_a_trusted_proxy_tells_for_whom_it_asks(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with keys_of(settings, system, [alice]) as (key,):
        pass
    await forget_turns(admin)
    behind = limited(settings, address_requests=5, trusted_proxies="10.0.0.0/24,10.0.9.9/32")

    async def ask(robot: httpx.AsyncClient, forwarded_for: str, count: int) -> int:
        headers = {"X-Forwarded-For": forwarded_for}
        return passed([await robot.get(TENANT, headers=headers) for _ in range(count)])

    async with (
        serving(behind) as application,
        running(application, key, peer="10.0.0.7") as proxied,
        running(application, key, peer="192.0.2.1") as direct,
    ):
        assert await ask(proxied, "198.51.100.1", 8) in {5, 6}
        assert await ask(proxied, "198.51.100.2", 4) == 4
        # What the caller wrote itself stands to the left of what the proxy appended.
        assert await ask(proxied, "203.0.113.9, 198.51.100.1", 2) == 0
        assert await ask(proxied, "198.51.100.1, 10.0.9.9", 2) == 0
        # Who is no proxy speaks for nobody.
        assert await ask(direct, "198.51.100.3", 8) in {5, 6}


async def test_c12_pages_of_a_person_have_turns_too(
    settings: Settings, system: Database, alice: TestTenant
) -> None:
    async with (
        serving(limited(settings, user_requests=6)) as application,
        browsing(application) as browser,
    ):
        await sign_in(browser, system, alice)
        answers = [await browser.get("/") for _ in range(9)]

    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "Wait" in answers[-1].text


async def test_c12_the_wait_that_is_asked_for_is_enough(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with keys_of(settings, system, [alice]) as (key,):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, key_requests=60)) as application,
        running(application, key) as robot,
    ):
        await burst([robot], 70)
        refused = await robot.get(TENANT)
        while refused.status_code == 200:
            refused = await robot.get(TENANT)
        await asyncio.sleep(int(refused.headers["retry-after"]))

        assert (await robot.get(TENANT)).status_code == 200


async def test_b10_a_tenants_turns_are_not_spent_by_another(
    settings: Settings,
    system: Database,
    alice: TestTenant,
    bobs: Browser,
    admin: AsyncConnection,
) -> None:
    async with keys_of(settings, system, [alice]) as (key,):
        pass
    await forget_turns(admin)
    async with (
        serving(limited(settings, tenant_requests=5)) as application,
        running(application, key) as robot,
    ):
        await burst([robot], 10)
        cookies = dict(bobs.client.cookies)
        async with browsing(application, ADDRESS) as browser:
            browser.client.cookies.update(cookies)

            assert (await browser.get(TENANT)).status_code == 200
