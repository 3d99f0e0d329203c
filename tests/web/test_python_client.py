"""The Python client against a real server: every group of the API, typed, and once only."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from factories import TestTenant
from fakes.stripe import FakeStripe
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.client import Client, Problem, Unreachable
from viral.client.performance import ResultIn
from viral.database.engine import Database
from viral.settings import Settings
from web.conftest import Browser, add_sample_trends, browsing, serving, sign_in
from web.programs import make_key
from web.served import served
from web.shops import selling

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def address(application: Litestar) -> AsyncIterator[str]:
    async with served(application) as address:
        yield address


@pytest.fixture
async def client(address: str, alices: Browser) -> AsyncIterator[Client]:
    """A client with a key of Alice, who is an admin."""
    with Client(await make_key(alices, "read", "write", "admin"), address) as client:
        yield client


def result(name: str, *, views: int = 1000, likes: int | None = None) -> ResultIn:
    return ResultIn(name, "tiktok", "2026-01-02", views, likes=likes)


async def test_concepts_are_made_found_kept_and_taken(client: Client, system: Database) -> None:
    await add_sample_trends(system)

    def work() -> None:
        made = client.generate_concepts(count=3, platform="tiktok", seed=7)
        newest = list(client.list_concepts(page_size=1))
        assert {each.id for each in made} == {each.id for each in newest}
        assert newest == sorted(newest, key=lambda each: each.id, reverse=True)
        first = client.get_concept(made[0].id)
        assert made[0] == first
        assert 0 <= first.predictions[0].low <= first.predictions[0].score
        assert [] == list(client.list_concepts(favorite=True))
        assert client.mark_favorite(first.id).is_favorite
        assert [first.id] == [each.id for each in client.list_concepts(favorite=True)]
        assert not client.unmark_favorite(first.id).is_favorite
        assert client.export_concepts(format="json").count("\n") == 3
        [generation] = client.list_generations()
        assert (3, generation) == (len(generation.concepts), client.get_generation(generation.id))
        [why] = client.explain_concept(first.id)
        assert first.predictions[0].score == pytest.approx(why.score)

    await asyncio.to_thread(work)


async def test_variants_and_experiments_are_told_apart(client: Client, system: Database) -> None:
    await add_sample_trends(system)

    def work() -> None:
        [concept] = client.generate_concepts(count=1, platform="tiktok", seed=7)
        assert [] == client.list_variants(concept.id)
        told = client.add_variants(concept.id, count=2, seed=7)
        assert ["A", "B"] == [each.label for each in told]
        assert client.select_variant(concept.id, label="B").is_selected
        assert [False, True] == [each.is_selected for each in client.list_variants(concept.id)]
        begun = client.start_experiment(name="Hooks", platform="tiktok")
        assert 2 == len(begun.arms)
        assert [begun] == list(client.list_experiments())
        assert begun == client.get_experiment(begun.id).experiment
        assert "running" != client.stop_experiment(begun.id).experiment.status

    await asyncio.to_thread(work)


async def test_results_are_stored_and_learning_is_a_job(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "week.csv"
    file.write_text("id,platform,published_at,views\nv3,tiktok,2026-01-02,5\n", "utf-8")

    def work() -> None:
        stored = client.add_results([result("v1"), result("v2", likes=5), result("v4", views=-1)])
        assert (2, ["views"]) == (stored.stored, [each.column for each in stored.rejects])
        assert 1 == client.import_results(file).stored
        asked = client.start_reflexion()
        assert asked.id in [each.id for each in client.list_jobs(page_size=1)]
        assert "canceled" == client.cancel_job(asked.id).status
        assert "pending" == client.retry_job(asked.id).status
        assert asked.id == client.get_job(asked.id).id
        assert 3 == client.get_reflexion().waiting
        assert 3 == client.get_report().waiting
        assert ([], []) == (list(client.list_adjustments()), list(client.list_insights()))
        assert [] == list(client.list_critiques())
        assert {"v1", "v2", "v3"} == {each.video for each in client.list_results(page_size=2)}
        assert 3 == sum(each.posts for each in client.list_weeks(weeks=104, platform="tiktok")) / 2
        assert 24 == len(client.get_usage().calls)

    await asyncio.to_thread(work)


async def test_people_keys_and_deeds_of_a_tenant(client: Client, alice: TestTenant) -> None:
    until = datetime.now(UTC) + timedelta(days=1)

    def work() -> None:
        [member] = client.list_members()
        assert ("ADMIN", member) == (member.role, client.get_member(member.id))
        invited = client.invite_person(email="sam@example.com", role="ADMIN")
        assert [invited.id] == [each.id for each in client.list_invitations()]
        assert client.revoke_invitation(invited.id) is None  # type: ignore[func-returns-value]  # 204 is no answer
        made = client.create_key(name="nightly", scopes=["read"], expires_at=until)
        assert made.id in [each.id for each in client.list_keys()]
        client.revoke_key(made.id)
        deeds = list(client.list_audit(page_size=2, since=until - timedelta(days=2)))
        assert {"invited", "made key", "revoked key"} <= {each.action for each in deeds}
        assert 1 == len(list(client.list_audit(action="revoked invitation")))
        assert alice.id == client.get_tenant().id

    await asyncio.to_thread(work)


async def test_trends_are_read_as_far_as_they_are_wanted(client: Client, system: Database) -> None:
    await add_sample_trends(system)

    def work() -> None:
        first = next(client.list_trends(page_size=1))
        assert first.score >= max(each.score for each in islice(client.list_trends(), 5))
        strongest = list(client.list_trends(category=first.category, page_size=3))
        assert first == strongest[0]
        assert {first.category} == {each.category for each in strongest}

    await asyncio.to_thread(work)


async def test_a_plan_is_bought_on_a_page_of_stripe(
    settings: Settings, system: Database, alice: TestTenant
) -> None:
    with FakeStripe() as account:
        shop = selling(settings, account)
        async with serving(shop) as application, browsing(application) as browser:
            await sign_in(browser, system, alice)
            key = await make_key(browser, "read", "write", "admin")
            async with served(application) as address:
                with Client(key, address) as client:
                    page = await asyncio.to_thread(client.open_checkout, plan="PRO")

    assert "checkout" == page.page
    assert page.url.startswith("http")


async def test_a_refusal_says_what_happened_and_what_to_do(
    client: Client, address: str, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    made = await bobs.send("/api/v1/concepts", {"count": 1})
    (theirs,) = made.json()

    def work() -> None:
        with pytest.raises(Problem) as found:
            client.get_concept(theirs["id"])
        assert (404, "not_found") == (found.value.status, found.value.code)
        assert 16 == len(found.value.request_id)
        with (
            pytest.raises(Problem, match="not known") as found,
            Client("vd_live_x", address) as other,
        ):
            other.get_tenant()
        assert found.value.hint in str(found.value)
        with pytest.raises(Problem) as found:
            client.generate_concepts(count=0)
        assert (422, "bad_input") == (found.value.status, found.value.code)

    await asyncio.to_thread(work)


async def test_what_changed_since_it_was_read_is_not_changed_unseen(client: Client) -> None:
    def work() -> None:
        client.get_tenant()
        tag = client.etag
        assert "Second" == client.rename_tenant(name="Second", if_match=tag).name
        with pytest.raises(Problem) as found:
            client.rename_tenant(name="Third", if_match=tag)
        assert "precondition_failed" == found.value.code
        assert "Second" == client.get_tenant().name

    await asyncio.to_thread(work)


class Losing(httpx2.HTTPTransport):
    """A way on which the first answer is lost."""

    lost = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if not self.lost:
            answer.read()
            self.lost += 1
            raise httpx2.ReadError("lost", request=request)
        return answer


async def test_a_request_whose_answer_is_lost_is_sent_again_and_done_once(
    address: str, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)
    way = Losing()
    waits: list[float] = []
    key = await make_key(alices)
    http = httpx2.Client(transport=way)

    with Client(key, address, http=http, sleep=waits.append) as client:
        made = await asyncio.to_thread(client.generate_concepts, count=2)

    assert (2, 1, [0.5]) == (len(made), way.lost, waits)
    assert 2 == await admin.scalar(text("SELECT count(*) FROM concepts"))


async def test_nobody_at_the_address_is_said_after_some_attempts() -> None:
    waits: list[float] = []

    with Client("vd_live_x", "http://127.0.0.1:9", sleep=waits.append) as client:
        with pytest.raises(Unreachable, match="Nobody answers"):
            client.get_tenant()
        with pytest.raises(Unreachable):
            client.revoke_key(UUID(int=1))

    assert [0.5, 1, 2, 4] == waits


def test_the_client_is_that_of_the_description() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "client.py", "--check"], capture_output=True, check=False
    )

    assert 0 == checked.returncode, checked.stderr
