"""The family of attacks on the API and the pages, made from the routes of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

from litestar import Litestar

from viral.features.verification.arena import Arena
from viral.features.verification.verdicts import Attack, Family, Target, Verdict
from viral.settings import Settings
from viral.web.application import create_application
from viral.web.verification import changing, reading
from viral.web.verification.bodies import places_of_ids
from viral.web.verification.stage import Stage, ids_by_table, kept_logs
from viral.web.verification.ways import Way

Attempt = Callable[[Stage, Target], Awaitable[Verdict]]

MEMBER = "admin of another tenant"
STRANGER = "stranger"
_OFTEN = 1_000_000_000
_SAME = "the same status, code and shape of answer as for a random id"
_OWN_SESSION = (
    "Read in the `session` of the route, which is the tenant's; never by `runtime.system`."
)


@asynccontextmanager
async def api_family(settings: Settings) -> AsyncIterator[Family]:
    """Run the application in this process, on no port, for the length of the block."""
    application = create_application(_without_vendors(settings))
    # How fast attacks are answered says nothing about people, and is no measurement.
    del application.state["traffic"]
    with kept_logs() as logs:
        async with _running(application):
            yield family_of(Stage(application, logs))


def family_of(stage: Stage) -> Family:
    """Make the attacks on an application that runs."""
    kinds = (_by_id, _by_look, _by_change, _by_content, _by_failure)
    return Family("API and pages", tuple(each for kind in kinds for each in kind(stage)))


@asynccontextmanager
async def _running(application: Litestar) -> AsyncIterator[None]:
    """Start and stop an application in a task of its own.

    Litestar's lifespan is a group of tasks: it would wrap what fails within the block.
    """
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with application.lifespan():
            started.set()
            await stop.wait()

    life = asyncio.create_task(live())
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({life, starting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if started.is_set():
            yield
    finally:
        starting.cancel()
        stop.set()
        await life


def _without_vendors(settings: Settings) -> Settings:
    """Take away what would reach the world outside, and what would stop many requests."""
    return settings.model_copy(
        update={
            "anthropic_api_key": None,
            "clerk_issuer": None,
            "clerk_secret_key": None,
            "stripe_api_key": None,
            "address_requests": _OFTEN,
            "key_requests": _OFTEN,
            "tenant_requests": _OFTEN,
            "user_requests": _OFTEN,
        }
    )


def _by_id(stage: Stage) -> Iterator[Attack]:
    yield Attack(
        "B01",
        "come without a session",
        "401, or to the door; but for a list of ways that are open to all",
        "Anybody reads or changes what belongs to clients.",
        "Take `opt=OPEN` or `opt=EITHER` from the route, or add it to PUBLIC with its reason.",
        lambda _arena: (Target(STRANGER, name) for name in stage.ways),
        _on(stage, reading.come_as_stranger),
    )
    yield Attack(
        "B01",
        "read by an id of the victim",
        _SAME,
        "Who learns or guesses an id reads the row, or learns that it is there.",
        _OWN_SESSION,
        _by_row(stage),
        _on(stage, reading.ask_for_row),
    )
    yield Attack(
        "B01",
        "read by the victim's slug",
        "the same status, code and shape of answer as for another word",
        "Whoever knows a client's name reads what is filed under it.",
        _OWN_SESSION,
        lambda _arena: (
            Target(MEMBER, way.name)
            for way in _safe(stage)
            if any(kind is str for _, kind in way.parameters)
        ),
        _on(stage, reading.ask_for_slug),
    )


def _by_look(stage: Stage) -> Iterator[Attack]:
    yield Attack(
        "B07",
        "name the victim in a header",
        "refused, or without effect; a foreign Host is refused",
        "Who writes a header chooses the client.",
        "Take the tenant from the session alone, and the host from VIRAL_PUBLIC_URL.",
        lambda _arena: (
            Target(MEMBER, way.name, statement=header)
            for way in _safe(stage)
            if not way.is_public or way.path == "/"
            for header in reading.HEADERS
        ),
        _on(stage, reading.ask_with_header),
    )
    yield Attack(
        "B08",
        "look through lists and pages",
        "nothing of the victim",
        "A list, a search or a page shows rows of other clients.",
        _OWN_SESSION,
        lambda _arena: (Target(MEMBER, way.name) for way in _safe(stage)),
        _on(stage, reading.look_through),
    )
    yield Attack(
        "B10",
        "ask for what was kept for the victim",
        "a fresh answer, which nobody on the way may keep",
        "A cache shows one client's page to another.",
        "Make an ETag of the tenant's own content, and send Cache-Control: no-store.",
        lambda _arena: (Target(MEMBER, way.name) for way in _safe(stage)),
        _on(stage, reading.ask_cache),
    )


def _by_change(stage: Stage) -> Iterator[Attack]:
    yield Attack(
        "B08",
        "count along while the victim's rows become more",
        "the attacker's answer stays as it is",
        "Totals and ranks tell how much another client does.",
        _OWN_SESSION,
        lambda _arena: (Target(MEMBER, way.name) for way in _safe(stage) if not way.parameters),
        _on(stage, reading.count_along),
        writes=True,
    )
    yield Attack(
        "B01",
        "change or delete by an id of the victim",
        f"{_SAME}; the victim's rows stay as they are",
        "Who learns or guesses an id changes the row, or learns that it is there.",
        _OWN_SESSION,
        lambda _arena: (
            Target(MEMBER, way.name)
            for way in stage.ways.values()
            if way.is_http and way.parameters and not way.is_safe
        ),
        _on(stage, changing.change_row),
        writes=True,
    )
    yield Attack(
        "B01",
        "address an id of the victim by methods that the path does not take",
        _SAME,
        "A method that nobody thought of reaches the row.",
        "Leave the method out of the route.",
        lambda _arena: _paths_with_ids(stage),
        _on(stage, reading.ask_by_other_methods),
        writes=True,
    )


def _by_content(stage: Stage) -> Iterator[Attack]:
    yield Attack(
        "B03",
        "an id of the victim inside a body or a query",
        _SAME,
        "A row of one client hangs on a row of another, or an id can be asked for.",
        "Look the id up in the tenant's session before it is stored.",
        lambda _arena: _places(stage),
        _on(stage, changing.send_foreign_id),
        writes=True,
    )
    yield Attack(
        "B06",
        "proofs that were made for the victim: cursors, form tokens, sessions, notes",
        "refused",
        "What one client was given opens something for another.",
        "Seal it for its owner (`site.seals`), and compare the owner when it comes back.",
        lambda _arena: _proofs(stage),
        _on(stage, _use),
        writes=True,
    )


def _by_failure(stage: Stage) -> Iterator[Attack]:
    yield Attack(
        "B20",
        "answers and logs of failures",
        "no SQL, no value of the database, no secret",
        "A failure tells how the inside looks, or what another row holds.",
        "Let problems.py answer: it tells a code and a sentence of ours.",
        lambda _arena: (Target(MEMBER, name) for name in _http(stage)),
        _on(stage, reading.provoke),
        writes=True,
    )
    yield Attack(
        "B02",
        "choose a tenant, a role, a plan, a quota, an id",
        "422, or ignored; the victim's rows and the attacker's rights stay as they are",
        "A client gives itself what it did not buy, or writes for another.",
        "Give the request's model `forbid_unknown_fields`, and take these from the session.",
        lambda _arena: (Target(MEMBER, name) for name in _http(stage)),
        _on(stage, changing.assign),
        writes=True,
    )


async def _use(stage: Stage, target: Target) -> Verdict:
    if target.statement == changing.CURSOR:
        return await changing.use_cursor(stage, target)
    if target.statement == changing.FORM_TOKEN:
        return await changing.use_form_token(stage, target)
    return await changing.use_proof(stage, target)


def _on(stage: Stage, attempt: Attempt) -> Callable[[Arena, Target], Awaitable[Verdict]]:
    async def tried(arena: Arena, target: Target) -> Verdict:
        return await attempt(await stage.begin(arena), target)

    return tried


def _by_row(stage: Stage) -> Callable[[Arena], Iterator[Target]]:
    """Aim at every way that shows something by an id, with the victim's row of every table."""

    def targets(arena: Arena) -> Iterator[Target]:
        for way in _safe(stage):
            if way.parameters:
                for table in ids_by_table(arena.victim):
                    yield Target(MEMBER, way.name, statement=table)

    return targets


def _paths_with_ids(stage: Stage) -> Iterator[Target]:
    seen = set()
    for way in stage.ways.values():
        if way.is_http and way.parameters and way.path not in seen:
            seen.add(way.path)
            yield Target(MEMBER, way.name, statement=reading.OTHER_METHODS)


def _places(stage: Stage) -> Iterator[Target]:
    """Aim at every place for an id in bodies and queries."""
    for name in _http(stage):
        way = stage.ways[name]
        for place in places_of_ids(way):
            yield Target(MEMBER, name, statement=f"body {'.'.join(map(str, place))}")
        for parameter, is_id in way.query:
            if is_id:
                yield Target(MEMBER, name, statement=f"query {parameter}")


def _proofs(stage: Stage) -> Iterator[Target]:
    for name in _http(stage):
        way = stage.ways[name]
        if any(parameter == "cursor" for parameter, _ in way.query):
            yield Target(MEMBER, name, statement=changing.CURSOR)
        if not way.is_safe:
            yield Target(MEMBER, name, statement=changing.FORM_TOKEN)
    for proof in changing.PROOFS:
        yield Target(MEMBER, "the door", statement=proof)


def _http(stage: Stage) -> list[str]:
    return [way.name for way in stage.ways.values() if way.is_http]


def _safe(stage: Stage) -> list[Way]:
    return [way for way in stage.ways.values() if way.is_safe]
