"""C02, C06, C10, C11, C17 and C18: secrets in the open, forms, headers, deeds, texts of others."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from clusters import Cluster, superuser
from litestar import Litestar
from sqlalchemy import String, insert, select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs
from web.conftest import Browser, browsing, link_for, serving, settings_for
from web.routes import SIGNED, address_of, routes_of

from security.conftest import Pair, signed_in
from security.looks import everywhere, forms_of
from viral.database.encryption.fields import encrypted_models
from viral.database.faults import sqlstate_of
from viral.errors import PlaintextRefused, ViralError
from viral.features.users.api_keys import PREFIX
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.schema.encrypted import EncryptedText, Secret
from viral.schema.publishing import SocialAccount
from viral.schema.tables import METADATA
from viral.schema.tenants import AuditEntry
from viral.web.dashboard.rendering import TEMPLATES_FOLDER

DIGEST = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} AS t"
CONTENT = (
    *("tenants", "memberships", "invitations", "api_keys", "concepts", "job_queue"),
    *("scoring_adjustments", "performance_feedback", "audit_log"),
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'{{7*7}}</textarea>"


# Secrets in plain text.


async def test_c02_what_is_secret_is_found_nowhere_and_what_is_not_everywhere(
    cluster: Cluster, module_database: str, studio: Litestar, pair: Pair
) -> None:
    canary = f"canary-{uuid7()}"
    with capture_logs() as logs:
        async with signed_in(studio, pair.alice) as browser:
            secrets = await plant(studio, browser, pair)
            await browser.send("/api/v1/tenant", {"name": canary}, method="PATCH")
            answers = [
                (await browser.get(address_of(path))).text
                for method, path in routes_of(studio)
                if method == "GET"
            ]
            await browser.get(f"/api/v1/{canary}")
    places = await everywhere(cluster, module_database)
    places |= {"answers": "".join(answers).encode(), "events": str(logs).encode()}

    hits = {
        (what, place)
        for what, secret in secrets.items()
        for place, data in places.items()
        if any(form in data for form in forms_of(secret))
    }
    seen = {place.partition(":")[0] for place, data in places.items() if canary.encode() in data}

    assert {"access token", "key", "password", "session", "invitation", "sign-in"} <= set(secrets)
    assert set() == hits
    assert set() == {"rows", "wal", "dump", "table", "answers", "events"} - seen


async def plant(studio: Litestar, browser: Browser, pair: Pair) -> dict[str, str]:
    """Let every kind of secret come into being, by the ways on which it does."""
    runtime: Runtime = studio.state.runtime
    site = studio.state.site
    access, password = f"access-{uuid7()}", f"a long phrase {uuid7()}"
    async with runtime.app.tenant_session(pair.alice.id) as session:
        session.add(
            SocialAccount(
                platform="tiktok", external_id="c02", username="x", access_token=Secret(access)
            )
        )
    key = (await browser.send("/api/v1/api-keys", {"name": "c02", "scopes": ["read"]})).json()[
        "key"
    ]
    invited = {"email": "carol@example.com", "role": "MEMBER"}
    link = (await browser.send("/api/v1/invitations", invited)).json()["link"]
    given = await browser.submit("/settings/account/password", {"current": "", "new": password})
    assert given.status_code == 303
    refused = await browser.submit(
        "/settings/account/password", {"current": f"{password}x", "new": password}
    )
    assert refused.status_code == 303
    with pytest.raises((DBAPIError, ViralError)):
        async with runtime.app.tenant_session(pair.alice.id) as session:
            session.add(SocialAccount(platform="no", access_token=Secret(access)))
    return {
        "access token": access,
        "key": key,
        "key without prefix": key.removeprefix(PREFIX),
        "password": password,
        "session": browser.client.cookies[site.session_cookie],
        "invitation": link.rpartition("=")[2],
        "sign-in": await _used_link(studio, pair),
    }


async def _used_link(studio: Litestar, pair: Pair) -> str:
    link = await link_for(studio.state.runtime.system, pair.alice)
    async with browsing(studio) as browser:
        answer = await browser.get(f"/sign-in?token={link}")
        assert answer.status_code == 200
        assert (await browser.submit("/sign-in", {"token": link})).status_code == 303
    return link


async def test_c06_nothing_is_looked_up_by_an_encrypted_value(studio: Litestar, pair: Pair) -> None:
    fields = [
        column
        for model in encrypted_models()
        for column in model.__table__.columns
        if isinstance(column.type, EncryptedText)
    ]
    indexed = [
        str(column)
        for column in fields
        for index in column.table.indexes
        if column.name in index.columns
    ]
    with pytest.raises(PlaintextRefused):
        async with studio.state.runtime.app.tenant_session(pair.alice.id) as session:
            await session.scalars(
                select(SocialAccount).where(SocialAccount.access_token == Secret("x"))
            )

    assert len(fields) >= 2
    assert [] == indexed


# Forms and headers.


async def test_c10_a_change_from_elsewhere_or_without_a_token_is_refused(
    studio: Litestar, alices: Browser
) -> None:
    token = await alices.form_token()
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    codes: dict[str, set[int]] = {"elsewhere": set(), "without": set()}
    for method, path in routes_of(studio):
        if method == "GET":
            continue
        place = address_of(path)
        sent = {"X-CSRFToken": token, **foreign}
        answer = await alices.client.request(method, place, json={}, headers=sent)
        codes["elsewhere"].add(answer.status_code)
        if (method, path) not in SIGNED:
            answer = await alices.client.request(method, place, json={})
            codes["without"].add(answer.status_code)

    assert {"elsewhere": {403}, "without": {403}} == codes


async def test_c10_asking_changes_nothing(
    cluster: Cluster, module_database: str, studio: Litestar, alices: Browser
) -> None:
    async def standing() -> list[object]:
        async with superuser(cluster, module_database) as admin:
            return [await admin.scalar(text(DIGEST.format(table=table))) for table in CONTENT]

    before = await standing()
    for method, path in routes_of(studio):
        if method == "GET":
            await alices.get(address_of(path))

    assert before == await standing()


def check_headers(answer: httpx.Response, *, is_secure: bool) -> list[str]:
    """List what an answer lacks."""
    headers = answer.headers
    policy = headers.get("content-security-policy", "")
    wanted = {
        "a policy": "default-src 'self'" in policy and "frame-ancestors 'none'" in policy,
        "a strict policy": "unsafe" not in policy and "*" not in policy,
        "objects and bases": "object-src 'none'" in policy and "base-uri 'none'" in policy,
        "nosniff": headers.get("x-content-type-options") == "nosniff",
        "no frames": headers.get("x-frame-options") == "DENY",
        "referrer": headers.get("referrer-policy") == "same-origin",
        "TLS": ("strict-transport-security" in headers) == is_secure,
        "not kept": answer.request.url.path.startswith("/static/")
        or "no-store" in headers.get("cache-control", ""),
    }
    return [name for name, is_there in wanted.items() if not is_there]


@pytest.mark.parametrize("who", ["alices", "stranger"])
async def test_c11_every_answer_has_its_headers(
    studio: Litestar, alices: Browser, who: str
) -> None:
    lacking = {}
    async with browsing(studio) as stranger:
        browser = alices if who == "alices" else stranger
        for method, path in [*routes_of(studio), ("GET", "/nowhere"), ("PUT", "/"), ("TRACE", "/")]:
            answer = await browser.client.request(method, address_of(path))
            if lacks := check_headers(answer, is_secure=False):
                lacking[f"{method} {path} {answer.status_code}"] = lacks

    assert {} == lacking


async def test_c11_under_tls_browsers_are_told_to_stay_there(
    cluster: Cluster, module_database: str, short_folder: Path
) -> None:
    address = "https://studio.example"
    settings = settings_for(cluster, short_folder / "home", module_database, public_url=address)
    async with serving(settings) as application, browsing(application, address) as browser:
        answers = [await browser.get(path) for path in ("/", "/health", "/api/v1/tenant", "/x")]

    assert [[]] * 4 == [check_headers(answer, is_secure=True) for answer in answers]
    assert "__Host-" in answers[0].headers.get("set-cookie", "")


def test_c11_no_page_needs_what_the_policy_forbids() -> None:
    inline = re.compile(
        r"<script(?![^>]*\ssrc=)|\sstyle\s*=|\son[a-z]+\s*=|javascript:|https?://", re.IGNORECASE
    )
    found = {
        path.name: inline.findall(path.read_text("utf-8"))
        for path in TEMPLATES_FOLDER.glob("*.html")
    }

    assert found
    assert {} == {name: each for name, each in found.items() if each}


# The log of deeds.


@pytest.mark.parametrize("role", ["viral_app", "viral_readonly", "viral_system", "viral_worker"])
@pytest.mark.parametrize(
    "sql",
    ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"],
)
async def test_c17_what_was_done_cannot_be_rewritten(
    cluster: Cluster, module_database: str, pair: Pair, role: str, sql: str
) -> None:
    connection = await cluster.connect(role, module_database)
    await connection.execute(f"SET app.tenant = '{cluster.token(pair.alice.id)}'")
    await connection.execute("SET default_transaction_read_only = off")

    with pytest.raises(Exception, match="permission denied") as refused:
        await connection.execute(sql)

    await connection.close()
    assert "42501" == getattr(refused.value, "sqlstate", None)


async def test_c17_an_entry_is_of_ones_own_tenant(studio: Litestar, pair: Pair) -> None:
    runtime: Runtime = studio.state.runtime
    entry = {"id": uuid7(), "tenant_id": pair.bob.id, "action": "forged", "subject": "x"}

    with pytest.raises(DBAPIError) as refused:
        async with runtime.app.tenant_session(pair.alice.id) as session:
            await session.execute(insert(AuditEntry).values(entry))

    assert "42501" == sqlstate_of(refused.value)


# Texts of others.


async def write_everywhere(cluster: Cluster, database: str, pair: Pair) -> int:
    """Put a hostile text into every column of Alice's, and of nobody's, that takes it; how many."""
    written = 0
    async with superuser(cluster, database) as admin:
        for table in METADATA.sorted_tables:
            owner = "id" if table.name in {"tenants", "users"} else "tenant_id"
            whose = {"tenants": pair.alice.id}.get(table.name, pair.alice.user_id)
            value = pair.alice.id if owner == "tenant_id" else whose
            where = f"WHERE {owner} = '{value}'" if owner in table.c else ""
            for column in table.columns:
                if not isinstance(column.type, String):
                    continue
                try:
                    async with admin.begin_nested():
                        await admin.execute(
                            text(f"UPDATE {table} SET {column.name} = :hostile {where}"),
                            {"hostile": HOSTILE},
                        )
                    written += 1
                except DBAPIError:
                    # A state, a key, or a slug: a check allows a few words.
                    continue
        await admin.execute(
            text(
                "UPDATE self_critiques SET performance_gap = jsonb_set(performance_gap,"
                " '{concept_title}', to_jsonb(CAST(:hostile AS text)))"
            ),
            {"hostile": HOSTILE},
        )
        await admin.commit()
    return written


async def test_c18_texts_of_others_are_inert_on_every_page(
    cluster: Cluster, module_database: str, studio: Litestar, alices: Browser, pair: Pair
) -> None:
    written = await write_everywhere(cluster, module_database, pair)

    pages = {}
    for method, path in routes_of(studio):
        if method == "GET" and "{" not in path:
            answer = await alices.get(path)
            if answer.headers["content-type"].startswith("text/html"):
                pages[path] = answer.text

    assert written > 50
    assert {"/", "/settings/people", "/settings/activity"} <= {
        path for path, page in pages.items() if "&lt;img src=x" in page
    }
    assert [] == [
        path for path, page in pages.items() if "<img src=x" in page or "<script>alert" in page
    ]


async def test_c18_programs_are_sent_texts_as_data(studio: Litestar, alices: Browser) -> None:
    kinds = set()
    for method, path in routes_of(studio):
        if method == "GET" and path.startswith("/api/"):
            kinds.add((await alices.get(address_of(path))).headers["content-type"])

    # A file to take along is CSV where it is no JSON: a browser shows neither as a page.
    csv = "text/csv; charset=utf-8"
    assert {"application/json", "application/problem+json", csv} == kinds
