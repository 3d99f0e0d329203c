"""All wiring: settings become a server, databases per role, and the adapters in use."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from viral.adapters.claude.client import Claude, checked_url
from viral.adapters.claude.critic import ClaudeCritic
from viral.adapters.claude.writer import ClaudeWriter
from viral.adapters.clerk.people import ClerkApi
from viral.adapters.clerk.tokens import ClerkTokens
from viral.adapters.inngest import Inngest
from viral.adapters.offline_critic import OfflineCritic
from viral.adapters.offline_writer import OfflineWriter
from viral.adapters.outgoing import Outgoing
from viral.adapters.stripe import Stripe, parse_prices
from viral.database import migrate
from viral.database.engine import Database
from viral.database.reading import Reading
from viral.database.secrets import Secrets
from viral.database.urls import parse_url
from viral.errors import BadSetting, MigrationsPending, ServerRefused
from viral.features.erasure import apply_tombstones
from viral.features.generations.costs import Budget
from viral.features.scoring.effects import word_hasher
from viral.postgres.branches.registry import MAIN
from viral.servers import (
    Urls,
    branch_name,
    field_keys,
    is_embedded,
    migrator_url,
    running_server,
    urls_of,
)
from viral.settings import listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from viral.database.encryption.keys import KeyRing
    from viral.features.generations.drafts import Writer
    from viral.features.reflexion.critic import Critic
    from viral.settings import Settings


@dataclass(frozen=True, slots=True)
class Vendors:
    """The services outside that a key of the operator's switches on; None is off."""

    clerk_tokens: ClerkTokens | None
    clerk_api: ClerkApi | None
    stripe: Stripe | None
    inngest: Inngest | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a command, the web server and the worker work with."""

    settings: Settings
    secrets: Secrets
    field_keys: KeyRing
    urls: Urls
    app: Database
    signin: Database
    system: Database
    worker: Database
    reading: Reading
    writer: Writer
    critic: Critic
    # These cost nothing: they do what a tenant's cap leaves undone, and samples.
    offline_writer: Writer
    offline_critic: Critic
    vendors: Vendors
    clock: Callable[[], datetime]
    # The branch of the database, where it is not main.
    branch: str | None = None

    @property
    def hashed(self) -> Callable[[str], str]:
        """The function that hides words among shared effects."""
        return word_hasher(self.secrets.word_key)

    @property
    def budget(self) -> Budget:
        """What Claude may cost a tenant a day, and who writes after that."""
        return Budget(self.settings.claude_daily_cost, self.offline_writer)


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Wire everything for a database whose schema is up to date."""
    keys = field_keys(settings)

    def clock() -> datetime:
        return datetime.now(UTC)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_server(settings))
        secrets = Secrets.load_or_create(settings.home)
        urls = urls_of(settings)
        await _refuse_old_schema(settings, secrets)
        # A backup may have brought back who was erased: gone again before anybody is served.
        await apply_tombstones(migrator_url(settings, secrets), settings.home)
        vendors = await stack.enter_async_context(_vendors(settings, clock))
        offline = OfflineWriter(), OfflineCritic()
        claude = await stack.enter_async_context(open_claude(settings))
        writer, critic = _writer_and_critic(settings, claude, *offline)
        databases = {}
        for role in ("viral_app", "viral_signin", "viral_system", "viral_worker"):
            url = urls.app if role == "viral_app" else urls.for_role(role, secrets)
            databases[role] = Database(
                url,
                context_key=lambda: secrets.context_key,
                field_keys=keys,
                passwords=secrets.login(url.user, url.password),
                announces=True,
            )
            stack.push_async_callback(databases[role].close)
        replica = _replica(settings, secrets, keys)
        if replica is not None:
            stack.push_async_callback(replica.close)
        yield Runtime(
            settings=settings,
            secrets=secrets,
            field_keys=keys,
            urls=urls,
            app=databases["viral_app"],
            signin=databases["viral_signin"],
            system=databases["viral_system"],
            worker=databases["viral_worker"],
            reading=Reading(databases["viral_app"], replica),
            writer=writer,
            critic=critic,
            offline_writer=offline[0],
            offline_critic=offline[1],
            vendors=vendors,
            clock=clock,
            branch=None if (name := branch_name(settings)) == MAIN.name else name,
        )


@cache
def settle_memory() -> None:
    """Take what a server has loaded out of the garbage collector's sight, once for a process.

    It stays to the end, and a full pass over it holds up everything else for 45 ms.
    """
    gc.collect()
    gc.freeze()


def _replica(settings: Settings, secrets: Secrets, keys: KeyRing) -> Database | None:
    """Return the way to the replica; whether it is one is found out at the first read."""
    if settings.replica_url is None:
        return None
    url = parse_url(settings.replica_url, name="REPLICA_URL")
    return Database(
        url,
        context_key=lambda: secrets.context_key,
        field_keys=keys,
        passwords=secrets.login(url.user, url.password),
    )


@asynccontextmanager
async def _vendors(settings: Settings, clock: Callable[[], datetime]) -> AsyncIterator[Vendors]:
    """Wire the adapters that the settings hold keys for; without any nothing is loaded."""
    keys = (settings.clerk_issuer, settings.clerk_secret_key, settings.stripe_api_key)
    if not any(keys) and settings.jobs == "local":
        yield Vendors(None, None, None)
        return
    places = (
        settings.clerk_issuer,
        settings.clerk_api_url,
        settings.stripe_api_url,
        settings.inngest_api_url,
        settings.inngest_event_url,
    )
    outgoing = Outgoing(vendors=[each for each in places if each])
    try:
        yield Vendors(
            _clerk_tokens(settings, outgoing, clock),
            _clerk_api(settings, outgoing),
            _stripe(settings, outgoing),
            _inngest(settings, outgoing, clock),
        )
    finally:
        await outgoing.close()


def _writer_and_critic(
    settings: Settings, claude: Claude | None, writer: Writer, critic: Critic
) -> tuple[Writer, Critic]:
    """Put Claude before the offline ones, where a key is set."""
    if claude is None:
        return writer, critic
    return (
        ClaudeWriter(claude, model=settings.writer_model, offline=writer),
        ClaudeCritic(claude, model=settings.critic_model, offline=critic),
    )


@asynccontextmanager
async def open_claude(settings: Settings) -> AsyncIterator[Claude | None]:
    """Wire Claude, where a key is set; nothing is loaded or sent before it is asked."""
    key = settings.anthropic_api_key
    if key is None or not key.get_secret_value():
        yield None
        return
    url = checked_url(settings.anthropic_base_url)
    outgoing = Outgoing(vendors=[url])
    try:
        yield Claude(api_key=key.get_secret_value(), base_url=url, outgoing=outgoing)
    finally:
        await outgoing.close()


def _clerk_tokens(
    settings: Settings, outgoing: Outgoing, clock: Callable[[], datetime]
) -> ClerkTokens | None:
    if settings.clerk_issuer is None:
        return None
    return ClerkTokens(
        settings.clerk_issuer.rstrip("/"),
        authorized_parties=listed(settings.clerk_authorized_parties),
        jwt_key_pem=settings.clerk_jwt_key,
        outgoing=outgoing,
        clock=clock,
    )


def _clerk_api(settings: Settings, outgoing: Outgoing) -> ClerkApi | None:
    if settings.clerk_secret_key is None:
        return None
    return ClerkApi(
        settings.clerk_api_url,
        secret_key=settings.clerk_secret_key.get_secret_value(),
        outgoing=outgoing,
    )


def _stripe(settings: Settings, outgoing: Outgoing) -> Stripe | None:
    if settings.stripe_api_key is None:
        return None
    return Stripe(
        settings.stripe_api_url,
        api_key=settings.stripe_api_key.get_secret_value(),
        api_version=settings.stripe_api_version,
        prices=parse_prices(settings.stripe_prices),
        outgoing=outgoing,
    )


def _inngest(
    settings: Settings, outgoing: Outgoing, clock: Callable[[], datetime]
) -> Inngest | None:
    if settings.jobs == "local":
        return None
    event_key, signing_key = settings.inngest_event_key, settings.inngest_signing_key
    serve_url, fallback = settings.inngest_serve_url, settings.inngest_signing_key_fallback
    if not event_key or not signing_key or not serve_url:
        needed = {
            "INNGEST_EVENT_KEY": event_key,
            "INNGEST_SIGNING_KEY": signing_key,
            "INNGEST_SERVE_URL": serve_url,
        }
        missing = " and ".join(name for name, given in needed.items() if not given)
        raise BadSetting(
            f"VIRAL_JOBS is inngest, but {missing} is not set.",
            hint="Set it as docs/inngest.md says, or VIRAL_JOBS=local to do without Inngest.",
        )
    return Inngest(
        event_key=event_key.get_secret_value(),
        signing_key=signing_key.get_secret_value(),
        signing_key_fallback=fallback.get_secret_value() if fallback else None,
        api_url=settings.inngest_api_url,
        event_url=settings.inngest_event_url,
        serve_url=serve_url,
        outgoing=outgoing,
        clock=clock,
    )


async def _refuse_old_schema(settings: Settings, secrets: Secrets) -> None:
    try:
        status = await migrate.status(migrator_url(settings, secrets))
    except ServerRefused as error:
        raise ServerRefused(
            error.message,
            hint="Prepare the server first: `viral server bootstrap --admin-url URL`."
            if not is_embedded(settings)
            else error.hint,
        ) from error
    if status.pending:
        raise MigrationsPending(f"The database lacks {', '.join(status.pending)}.")
