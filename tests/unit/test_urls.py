"""Database URLs in every spelling people paste."""

from __future__ import annotations

import traceback
from dataclasses import replace

import pytest

from viral.database.urls import ServerUrl, parse_url
from viral.errors import BadSetting

PLAIN = ServerUrl(host="db.example.com", port=5432, user="u", password="p", database="shop")
NEON = "postgresql://u:p@ep-a-1.eu.aws.neon.tech/shop?sslmode=require&channel_binding=require"


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:p@db.example.com/shop",
        "postgresql://u:p@db.example.com:5432/shop",
        "postgresql+asyncpg://u:p@db.example.com/shop",
        "postgresql+psycopg://u:p@db.example.com/shop",
        "  postgresql://u:p@db.example.com/shop\n",
        "postgresql://u:p@db.example.com/shop?schema=public",
        "postgresql://u:p@db.example.com/shop?channel_binding=require&gssencmode=disable",
        "postgresql://u:p@db.example.com/shop?target_session_attrs=read-write",
    ],
)
def test_every_spelling_of_a_plain_url_means_the_same(text: str) -> None:
    assert parse_url(text) == PLAIN


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        ("sslmode=require", {"tls": (("sslmode", "require"),)}),
        ("sslmode=verify-full", {"tls": (("sslmode", "verify-full"),)}),
        ("ssl=true", {"tls": (("sslmode", "require"),)}),
        ("ssl=false", {"tls": (("sslmode", "disable"),)}),
        (
            "sslmode=verify-ca&sslrootcert=/etc/ca.pem",
            {"tls": (("sslmode", "verify-ca"), ("sslrootcert", "/etc/ca.pem"))},
        ),
        ("connection_limit=5", {"pool_size": 5}),
        ("pool_timeout=20", {"pool_timeout_s": 20}),
        ("pool_timeout=0", {"pool_timeout_s": 86_400}),
        ("connect_timeout=3", {"connect_timeout_s": 3}),
        ("connect_timeout=0", {"connect_timeout_s": 86_400}),
        ("statement_cache_size=0", {"statement_cache_size": 0}),
        ("statement_cache_size=500", {"statement_cache_size": 500}),
        ("pgbouncer=true", {"is_pooled": True}),
        ("pgbouncer=false", {}),
        ("prepared_statement_cache_size=0", {"is_pooled": True}),
        ("application_name=studio", {"application_name": "studio"}),
        ("pgbouncer=true&connection_limit=1", {"is_pooled": True, "pool_size": 1}),
    ],
)
def test_an_option_is_understood(query: str, changed: dict[str, object]) -> None:
    assert parse_url(f"postgres://u:p@db.example.com/shop?{query}") == replace(PLAIN, **changed)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("text", "is_pooled"),
    [
        (NEON, False),
        (NEON.replace("ep-a-1", "ep-a-1-pooler"), True),
        ("postgresql://u:p@localhost:6432/shop", True),
        ("postgresql://u:p@localhost:6433/shop", False),
    ],
)
def test_a_transaction_pooler_is_recognised(text: str, *, is_pooled: bool) -> None:
    url = parse_url(text)

    assert url.is_pooled == is_pooled
    assert ("statement_cache_size" in url.connect_args) == is_pooled
    assert ("prepared_statement_cache_size" in url.sqlalchemy.query) == is_pooled


@pytest.mark.parametrize(
    ("query", "size"), [("statement_cache_size=7", 7), ("pgbouncer=true&statement_cache_size=7", 0)]
)
def test_both_caches_of_statements_have_the_size_that_was_asked_for(query: str, size: int) -> None:
    url = parse_url(f"postgresql://u:p@h/shop?{query}")

    assert size == url.connect_args["statement_cache_size"]
    assert str(size) == url.sqlalchemy.query["prepared_statement_cache_size"]


def test_a_percent_encoded_part_is_decoded_and_written_back() -> None:
    url = parse_url("postgresql://us%40er:p%40ss%2Fw%3Ard%25%20%23@h/my%20shop")

    assert (url.user, url.password) == ("us@er", "p@ss/w:rd% #")
    assert parse_url(url.libpq(password=True)) == url
    assert parse_url(url.sqlalchemy.render_as_string(hide_password=False)) == url


@pytest.mark.parametrize("query", ["", "?pgbouncer=true", "?sslmode=require&pgbouncer=true"])
def test_an_address_of_a_pooler_says_so_to_the_product_and_never_to_libpq(query: str) -> None:
    text = f"postgresql://u:p@h:7000/shop{query}"
    url = parse_url(text)

    assert text == url.setting(password=True)
    assert "pgbouncer" not in url.libpq(password=True)


def test_an_ipv6_host_and_a_role_and_database_of_choice_keep_the_rest() -> None:
    url = parse_url("postgresql://u:p@[::1]:5433/shop?sslmode=require")
    other = url.for_role("viral_app", "q").for_database("viral")

    assert (url.host, url.port) == ("::1", 5433)
    assert (other.user, other.password, other.database) == ("viral_app", "q", "viral")
    assert (other.host, other.port, other.tls) == ("::1", 5433, url.tls)
    assert parse_url(url.libpq(password=True)) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a URL"),
        ("shop", "is not a URL"),
        ("db.example.com:5432/shop", "is not a URL"),
        ("postgresql://u:p@h:port/shop", "is not a URL"),
        ("postgresql://u:p@h:99999/shop", "port"),
        ("postgresql://u:p@h:0/shop", "port"),
        ("postgresql://u:p@h:-1/shop", "port -1"),
        ("mysql://u:p@h/shop", "'mysql', not PostgreSQL"),
        ("sqlite:///shop.db", "'sqlite', not PostgreSQL"),
        ("postgresql+psycopg2cffi://u:p@h/shop", "not PostgreSQL"),
        ("postgresql://u:p@h", "lacks its database"),
        ("postgresql://u:p@h/", "lacks its database"),
        ("postgresql://h/shop", "lacks its user"),
        ("postgresql:///shop", "lacks its host and user"),
        ("postgresql://", "lacks its host and database and user"),
        ("postgresql://u:p@ss@h/shop", "an @ too many"),
        ("postgresql://u:p@h/shop?sslmode=maybe", "sslmode=maybe"),
        ("postgresql://u:p@h/shop?connection_limit=0", "connection_limit=0"),
        ("postgresql://u:p@h/shop?connection_limit=many", "connection_limit=many"),
        ("postgresql://u:p@h/shop?connection_limit=nan", "connection_limit=nan"),
        ("postgresql://u:p@h/shop?pool_timeout=-1", "pool_timeout=-1"),
        ("postgresql://u:p@h/shop?statement_cache_size=some", "statement_cache_size=some"),
        ("postgresql://u:p@h/shop?schema=studio", "schema=studio"),
        ("postgresql://u:p@h/shop?conection_limit=5", "not known: conection_limit"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_variable_and_a_hint(text: str, said: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_url(text, name="DIRECT_URL")

    assert caught.value.message.startswith("DIRECT_URL ")
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:tops3cret@h/shop",
        "postgresql://u:tops3cret@h/shop?sslmode=require&pgbouncer=true",
    ],
)
def test_the_password_is_in_no_text(text: str) -> None:
    url = parse_url(text)

    assert "tops3cret" not in f"{url} {url!r} {url.libpq(password=False)} {url.sqlalchemy}"
    assert "tops3cret" in url.libpq(password=True)


@pytest.mark.parametrize(
    "text",
    [
        "tops3cret",
        "mysql://u:tops3cret@h/shop",
        "postgresql://u:tops3cret@h",
        "postgresql://u:tops3cret@h:port/shop",
        "postgresql://u:a@tops3cret@h/shop",
        "postgresql://u:a@b:tops3cret@h/shop",
        "postgresql://u:a@b:1/tops3cret@h/shop",
        "postgresql://u:tops3cret@h/shop?sslmode=maybe",
        "postgresql://u@h/shop?password=tops3cret",
        "u:tops3cret@h/shop",
    ],
)
def test_the_password_is_in_no_error(text: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_url(text)

    assert "tops3cret" not in "".join(traceback.format_exception(caught.value))
    assert "tops3cret" not in caught.value.hint
