"""The application attacked by itself: a sound one holds, each weakness is named by its route."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
import structlog
from clusters import Cluster, superuser
from factories import fill_every_table, make_tenant
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from verifications import installation_of
from weak_routes import weak_routes
from web import routes
from web.conftest import settings_for

from viral.errors import NotFound
from viral.features.verification import run
from viral.features.verification.report import Report
from viral.features.verification.verdicts import Trial
from viral.runtime import Vendors
from viral.schema.content import Concept
from viral.schema.security import SYSTEM
from viral.schema.tables import METADATA
from viral.settings import Settings
from viral.web.api import concepts
from viral.web.application import create_application
from viral.web.site import Seals
from viral.web.verification import family, ways

# Two whole runs of an application stand in fixtures.
pytestmark = pytest.mark.timeout(180)

ATTACKS = {"B01", "B02", "B03", "B06", "B07", "B08", "B10", "B20"}
# Keeps when each job that was put in is due, after its tenant is gone.
WATCH = """
CREATE TABLE due_jobs (job_type text, due_at timestamptz);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN INSERT INTO public.due_jobs VALUES (NEW.job_type, NEW.scheduled_for); RETURN NULL; END $$;
CREATE TRIGGER watch AFTER INSERT ON job_queue FOR EACH ROW EXECUTE FUNCTION watch()
"""
OPEN_SEAL = Seals.open
Make = Callable[[Settings], Litestar]


async def attack(
    cluster: Cluster, database: str, *, make: Make = create_application, victim: str | None = None
) -> Report:
    """Attack one of the tests' databases by its application alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FAMILIES", ())
        patch.setattr(family, "create_application", make)
        settings = settings_for(cluster, cluster.home, database)
        async with family.api_family(settings) as api:
            return await run.verify(
                installation_of(cluster, database),
                clock=lambda: datetime.now(UTC),
                progress=lambda _step, _done, _total: None,
                victim=victim,
                more=[api],
            )


async def rows_by_table(cluster: Cluster, database: str) -> dict[str, int]:
    async with superuser(cluster, database) as admin:
        return {
            str(table): int(await admin.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
            for table in METADATA.sorted_tables
            # Counts of requests, by the hash of who asks; they end with their minute.
            if table.name != "rate_limits"
        }


@pytest.fixture(scope="module")
async def before(cluster: Cluster, module_database: str) -> dict[str, int]:
    await cluster.execute_as_admin(module_database, "SELECT viral.make_partitions()")
    return await rows_by_table(cluster, module_database)


@pytest.fixture(scope="module")
async def sound(cluster: Cluster, module_database: str, before: dict[str, int]) -> Report:
    assert before
    await cluster.execute_as_admin(module_database, WATCH)
    return await attack(cluster, module_database)


def of(report: Report, attack: str) -> list[Trial]:
    return [trial for trial in report.trials if trial.attack.id == attack]


def test_a_sound_application_holds(sound: Report) -> None:
    assert [] == sound.leaks
    assert ATTACKS == {trial.attack.id for trial in sound.trials if trial.verdict.result == "held"}


def test_b01_every_route_is_attacked_by_strangers(cluster: Cluster, sound: Report) -> None:
    application = create_application(settings_for(cluster, cluster.home, "none"))

    attacked = {each.target.object for each in of(sound, "B01") if each.target.role == "stranger"}

    assert {f"{method} {path}" for method, path in routes.routes_of(application)} == attacked


def test_b01_the_list_of_open_routes_holds_routes_that_are_open(sound: Report) -> None:
    details = {
        each.target.object: each.verdict.detail
        for each in of(sound, "B01")
        if each.target.role == "stranger"
    }

    assert ways.PUBLIC == {name for name, detail in details.items() if "open to all" in detail}
    assert {f"{method} {path}" for method, path in routes.PUBLIC} <= ways.PUBLIC


def test_b01_every_route_with_an_id_is_asked_for_rows_of_the_victim(sound: Report) -> None:
    asked = {each.target.object for each in of(sound, "B01") if each.target.role != "stranger"}
    tables = {each.target.statement for each in of(sound, "B01") if each.target.statement}

    with_id = {each.target.object for each in sound.trials if ":uuid}" in each.target.object}
    assert with_id == {each for each in asked if ":uuid}" in each}
    assert {"public.concepts", "public.job_queue", "public.scoring_adjustments"} <= tables


@pytest.mark.parametrize(
    "route",
    ["GET /", "GET /api/v1/concepts/{concept_id:uuid}", "GET /api/v1/jobs/{job_id:uuid}"],
)
def test_b08_it_means_something_that_nothing_is_shown(sound: Report, route: str) -> None:
    (looked,) = (
        each.verdict
        for each in of(sound, "B08")
        if each.target.object == route and each.attack.title == "look through lists and pages"
    )

    assert "held" == looked.result
    assert looked.detail.startswith("200, with none of the ")


@pytest.mark.parametrize("route", ["GET /api/v1/concepts", "GET /api/v1/reflexion/insights"])
def test_b08_it_means_something_that_nothing_is_counted(sound: Report, route: str) -> None:
    counted = [
        each.verdict.result
        for each in of(sound, "B08")
        if each.target.object == route and each.attack.title.startswith("count along")
    ]

    assert ["held"] == counted


def test_b06_a_cursor_of_the_victim_is_made_and_refused(sound: Report) -> None:
    (cursor,) = (
        each.verdict
        for each in of(sound, "B06")
        if each.target.object == "GET /api/v1/concepts" and "cursor" in each.target.statement
    )

    assert ("held", "422 bad_input") == (cursor.result, cursor.detail)


def test_b02_a_body_is_refused_for_the_field_that_was_put_in(sound: Report) -> None:
    (assigned,) = (
        each.verdict.detail
        for each in of(sound, "B02")
        if each.target.object == "POST /api/v1/concepts"
    )

    assert assigned.startswith("422 bad_input")


async def test_nothing_is_left_behind_but_two_people(
    cluster: Cluster, module_database: str, sound: Report, before: dict[str, int]
) -> None:
    assert sound.total.tried

    async with superuser(cluster, module_database) as admin:
        let_in = await admin.scalar(
            text("SELECT count(*) FROM users WHERE is_operator OR password_hash IS NOT NULL")
        )
    # One of them is there already where another run was before.
    assert before | {"users": 2} == await rows_by_table(cluster, module_database)
    assert 0 == let_in


async def test_no_worker_is_given_made_up_results_to_learn_from(
    cluster: Cluster, module_database: str, sound: Report
) -> None:
    learning = [each.verdict.detail for each in of(sound, "B02") if "/runs" in each.target.object]

    async with superuser(cluster, module_database) as admin:
        jobs = (await admin.execute(text("SELECT job_type, due_at::text FROM due_jobs"))).all()

    assert "202, and nothing changed" in learning
    assert "reflexion" in {job_type for job_type, _ in jobs}
    assert {"9999"} == {due_at[:4] for _, due_at in jobs}


async def test_logs_are_kept_from_the_screen_and_given_back(
    cluster: Cluster, module_database: str, sound: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sound.total.tried
    before = structlog.get_config()

    async with family.api_family(settings_for(cluster, cluster.home, module_database)):
        structlog.get_logger().info("request.answered")

    assert "" == capsys.readouterr().out
    assert before == structlog.get_config()


async def test_no_vendor_is_reached(cluster: Cluster, module_database: str) -> None:
    vendors = {
        "anthropic_api_key": SecretStr("sk-ant-1"),
        "clerk_issuer": "https://clerk.verify.invalid",
        "clerk_secret_key": SecretStr("sk_live_1"),
        "stripe_api_key": SecretStr("sk_live_2"),
    }
    settings = settings_for(cluster, cluster.home, module_database).model_copy(update=vendors)
    made: list[Litestar] = []

    def make(given: Settings) -> Litestar:
        made.append(create_application(given))
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "create_application", make)
        async with family.api_family(settings):
            runtime = made[0].state.runtime

    assert Vendors(None, None, None) == runtime.vendors
    assert ("offline", "offline") == (runtime.writer.name, runtime.critic.name)


async def test_an_error_within_comes_out_as_itself(cluster: Cluster, module_database: str) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await attack(cluster, module_database, victim="nobody")


async def test_a_tenant_that_exists_is_only_read_from(cluster: Cluster, database_name: str) -> None:
    system = cluster.database(SYSTEM, database_name)
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    async with superuser(cluster, database_name) as admin:
        await fill_every_table(admin, bob)
    before = await rows_by_table(cluster, database_name)

    report = await attack(cluster, database_name, victim="bob")

    writing = {trial.verdict.result for trial in report.trials if trial.attack.writes}
    assert {"not applicable"} == writing
    assert [] == report.leaks
    assert len(of(report, "B01")) > 100
    assert str(bob.id) not in json.dumps(report.as_json())
    assert before | {"users": before["users"] + 1} == await rows_by_table(cluster, database_name)


# Each route leaks in one way: the attacks that have to name it.
WEAK: dict[str, set[str]] = {
    "GET /api/v1/weak/names": {"B08"},
    "GET /api/v1/weak/names/{tenant_id:uuid}": {"B01"},
    "GET /api/v1/weak/open": {"B01"},
    "GET /api/v1/weak/header": {"B07"},
    "GET /api/v1/weak/count": {"B08"},
    "GET /api/v1/weak/kept": {"B10"},
    "GET /api/v1/weak/fails": {"B20"},
    "GET /api/v1/weak/logs": {"B20"},
    "DELETE /api/v1/weak/concepts/{concept_id:uuid}": {"B01"},
    "DELETE /api/v1/weak/insights/{insight_id:uuid}": {"B01"},
    "POST /api/v1/weak/chosen": {"B03"},
    "POST /api/v1/weak/person": {"B02"},
    "GET /api/v1/concepts": {"B06"},
    "GET /api/v1/concepts/{concept_id:uuid}": {"B01"},
}


def open_without_seal(seals: Seals, purpose: str, owner: str, sealed: str) -> bytes | None:
    """Believe a cursor whoever it was made for."""
    if purpose != concepts.PURPOSE:
        return OPEN_SEAL(seals, purpose, owner, sealed)
    return urlsafe_b64decode(sealed.partition(".")[0] + "==")


@pytest.fixture(scope="module")
async def weak(cluster: Cluster, module_database: str, sound: Report) -> Report:
    """Attack an application with all weaknesses, each on a route of its own."""
    assert sound.total.tried

    async def find_without_tenant(_session: object, concept_id: UUID) -> Concept:
        wanted = select(Concept).options(selectinload(Concept.predictions))
        async with superuser(cluster, module_database) as admin, AsyncSession(admin) as session:
            found = await session.scalar(wanted.where(Concept.id == concept_id))
        if found is None:
            raise NotFound("There is none.")
        return found

    def make(settings: Settings) -> Litestar:
        application = create_application(settings)
        for each in weak_routes(cluster, module_database):
            application.register(each)
        return application

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concepts, "find_concept", find_without_tenant)
        patch.setattr(Seals, "open", open_without_seal)
        return await attack(cluster, module_database, make=make)


@pytest.mark.parametrize(("route", "attacks"), WEAK.items(), ids=WEAK)
def test_a_weak_route_is_named(weak: Report, route: str, attacks: set[str]) -> None:
    found = {leak.attack for leak in weak.leaks if leak.object == route}

    assert attacks <= found


def test_what_is_not_weak_is_not_named(weak: Report) -> None:
    named = {leak.object for leak in weak.leaks} - WEAK.keys()

    assert set() == named


def test_every_attack_is_seen_to_succeed_somewhere() -> None:
    assert ATTACKS == set().union(*WEAK.values())


async def test_rights_that_came_through_do_not_stay(
    cluster: Cluster, module_database: str, weak: Report
) -> None:
    assert weak.leaks
    async with superuser(cluster, module_database) as admin:
        operators = await admin.scalar(text("SELECT count(*) FROM users WHERE is_operator"))

    assert 0 == operators
