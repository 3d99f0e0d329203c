"""What a URL says about TLS, and what the driver is told."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlsplit

import pytest

from viral.database.urls import parse_url
from viral.errors import BadSetting

PLAIN = "postgresql://u:p@db.example.com/shop"
CA = "sslrootcert=/etc/ca.pem"


def told(query: str) -> dict[str, str]:
    arguments = parse_url(f"{PLAIN}?{query}").connect_args
    found = parse_qs(urlsplit(arguments["dsn"]).query)
    return {name: values[0] for name, values in found.items()}


@pytest.mark.parametrize("mode", ["require", f"verify-ca&{CA}", f"verify-full&{CA}"])
def test_tls_that_is_asked_for_is_1_3(mode: str) -> None:
    assert told(f"sslmode={mode}")["ssl_min_protocol_version"] == "TLSv1.3"


def test_another_minimum_is_taken_where_the_url_names_it() -> None:
    asked = told("sslmode=require&ssl_min_protocol_version=TLSv1.2")

    assert asked == {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.2"}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_tls_that_is_only_tried_has_no_minimum_of_ours(mode: str) -> None:
    assert told(f"sslmode={mode}") == {"sslmode": mode}


@pytest.mark.parametrize("version", ["TLSv1", "SSLv3", "1.3"])
def test_a_version_that_is_too_old_or_unknown_is_refused(version: str) -> None:
    with pytest.raises(BadSetting, match="ssl_min_protocol_version") as caught:
        parse_url(f"{PLAIN}?sslmode=require&ssl_min_protocol_version={version}")

    assert "TLSv1.3" in caught.value.hint


@pytest.mark.parametrize(
    ("query", "checks_host"),
    [("verify-full", True), ("verify-full&sslrootcert=system", True), ("verify-ca", False)],
)
def test_without_a_file_the_machines_authorities_vouch(query: str, *, checks_host: bool) -> None:
    context = parse_url(f"{PLAIN}?sslmode={query}").connect_args["ssl"]

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is checks_host
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_certificate_of_ours_that_is_not_there_is_named() -> None:
    url = parse_url(f"{PLAIN}?sslmode=verify-full&sslcert=/no/client.crt")

    with pytest.raises(BadSetting, match=r"/no/client\.crt cannot be used"):
        _ = url.connect_args


def test_a_pasted_url_is_written_back_as_it_was() -> None:
    query = "ssl_min_protocol_version=TLSv1.2&sslmode=require"

    assert parse_url(f"{PLAIN}?{query}").libpq(password=True) == (
        f"postgresql://u:p@db.example.com:5432/shop?{query}"
    )
