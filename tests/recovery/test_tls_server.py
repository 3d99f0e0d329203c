"""TLS with a real server: what the URL asks for is what there is, or the connection is refused."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import Homes, as_admin, server_in
from sqlalchemy import text

from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.errors import ServerRefused
from viral.postgres.account import server_account
from viral.postgres.binaries import DEBIAN
from viral.postgres.bootstrap import bootstrap
from viral.postgres.doctor.check import Patient
from viral.postgres.doctor.connection import look_at_tls
from viral.postgres.server import Server

pytest_plugins = ["servers"]

BINDIR = next(iter(sorted(DEBIAN.glob("*/bin"))), None)
pytestmark = pytest.mark.skipif(BINDIR is None, reason="needs Debian's PostgreSQL, built with TLS")


@dataclass(frozen=True)
class Secured:
    """A server with TLS, the file of its authority, and that of another."""

    server: Server
    authority: Path
    another: Path

    def url(self, query: str) -> str:
        return f"{self.server.url('viral_app')}?{query}"


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files[1].chmod(0o600)
    return files


@pytest.fixture(scope="module")
async def secured(homes: Homes) -> AsyncIterator[Secured]:
    home = homes.new()
    server = server_in(home, bindir=BINDIR)
    await server.start()
    mine = make_certificate(server.data_dir, "mine")
    another, _ = make_certificate(home, "another")
    authority = home / "authority.crt"
    authority.write_bytes(mine[0].read_bytes())
    account = server_account()
    for file in mine:
        os.chown(file, account.uid, account.gid)
    await change(server, "ssl_cert_file = 'mine.crt'", "ssl_key_file = 'mine.key'", "ssl = on")
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    yield Secured(server, authority, another)
    await server.stop()


async def change(server: Server, *settings: str) -> None:
    connection = await as_admin(server)
    for setting in settings:
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("SELECT pg_sleep(0.3)")
    await connection.close()


async def version_of(url: str) -> object:
    database = Database(parse_url(url), context_key=b"k" * 32)
    try:
        async with database.session_without_tenant() as session:
            query = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return await session.scalar(text(query))
    finally:
        await database.close()


async def test_what_asks_for_tls_gets_1_3(secured: Secured) -> None:
    assert await version_of(secured.url("sslmode=require")) == "TLSv1.3"
    full = f"sslmode=verify-full&sslrootcert={secured.authority}"
    assert await version_of(secured.url(full)) == "TLSv1.3"
    assert await version_of(secured.url("sslmode=disable")) is None


async def test_an_older_tls_is_refused_unless_the_url_allows_it(secured: Secured) -> None:
    await change(secured.server, "ssl_max_protocol_version = 'TLSv1.2'")
    allowed = "sslmode=require&ssl_min_protocol_version=TLSv1.2"

    try:
        with pytest.raises(ServerRefused, match="no TLS as new as the URL asks for") as caught:
            await version_of(secured.url("sslmode=require"))
        with pytest.raises(ServerRefused, match="no TLS as new"):
            await version_of(secured.url(f"sslmode=verify-full&sslrootcert={secured.authority}"))
        older = await version_of(secured.url(allowed))
        finding = (await look_at_tls(patient(secured.url(allowed))))[0]
    finally:
        await change(secured.server, "ssl_max_protocol_version = ''")

    assert "ssl_min_protocol_version=TLSv1.2" in caught.value.hint
    assert older == "TLSv1.2"
    assert (finding.state, "older than TLSv1.3" in finding.cause) == ("warning", True)


def patient(url: str) -> Patient:
    return Patient(clock=lambda: datetime.now(UTC), direct=parse_url(url))


async def test_the_doctor_names_the_version(secured: Secured) -> None:
    findings = await look_at_tls(patient(secured.url("sslmode=require")))

    assert [finding.state for finding in findings] == ["ok"]
    assert "TLSv1.3" in findings[0].cause


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_a_certificate_of_another_authority_is_refused(secured: Secured, mode: str) -> None:
    with pytest.raises(ServerRefused, match="certificate is not trusted") as caught:
        await version_of(secured.url(f"sslmode={mode}&sslrootcert={secured.another}"))
    with pytest.raises(ServerRefused, match="certificate is not trusted"):
        await version_of(secured.url(f"sslmode={mode}"))

    assert "sslrootcert" in caught.value.hint


async def test_a_certificate_of_another_host_is_refused(secured: Secured) -> None:
    named = secured.url(f"sslmode=verify-full&sslrootcert={secured.authority}")

    with pytest.raises(ServerRefused, match=r"not trusted.*localhost"):
        await version_of(named.replace("127.0.0.1", "localhost"))

    unchecked = named.replace("127.0.0.1", "localhost").replace("verify-full", "verify-ca")
    assert await version_of(unchecked) == "TLSv1.3"
