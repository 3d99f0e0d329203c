"""No call leads into the network inside (C13), against real servers of this machine."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from outside import OTHER, PUBLIC, answering, calling, replying, serving

from viral.adapters.outgoing import Outgoing
from viral.errors import AddressRefused, VendorRefused, VendorUnreachable

REFUSED = [
    # other schemes, no host, unreadable
    "",
    "feed.example/path",
    "//feed.example/",
    "http:feed.example",
    "http:/feed.example",
    "http:///feed.example",
    "http://",
    "http://.",
    "file:///etc/passwd",
    "ftp://feed.example/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stat",
    "ws://feed.example/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "http://feed.example\r\nHost: 127.0.0.1/",
    "http://feed\t.example/",
    "http://feed.example:80:80/",
    "http://[::1/",
    "http://xn--. /",
    # ports
    "http://feed.example:22/",
    "http://feed.example:8080/",
    "http://feed.example:6379/",
    "http://feed.example:0/",
    "http://feed.example:65616/",
    "https://feed.example:5432/",
    # credentials
    "http://name:word@feed.example/",
    "http://name@feed.example/",
    "http://feed.example@127.0.0.1/",
    "http://127.0.0.1@feed.example/",
    "http://feed.example\\@127.0.0.1/",
    "http://feed.example%00@127.0.0.1/",
    # this machine
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://x.localhost/",
    "http://127.0.0.1/",
    "https://127.0.0.1:443/",
    "http://127.0.0.1./",
    "http://127.0.0.1../",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://2130706433/",
    "http://4294967297/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.01/",
    "http://127.0.0.1.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1%00/",
    "http://127.0.0.1%2f.feed.example/",
    "http://127%2e0%2e0%2e1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://\u0661\u0662\u0667.0.0.1/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    # the network inside, and the clouds' own
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://169.254.43518/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/",
    "http://metadata/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_c13_an_address_that_may_lead_inside_is_refused_unasked(url: str) -> None:
    async with calling() as outgoing:
        with pytest.raises(AddressRefused):
            await outgoing.request("GET", url)


def test_c13_there_are_more_than_forty_refused_addresses() -> None:
    assert len(set(REFUSED)) > 40


async def test_c13_the_refusal_names_the_host_and_no_secret() -> None:
    async with calling() as outgoing:
        with pytest.raises(AddressRefused) as refusal:
            await outgoing.request("GET", "http://name:word@10.1.2.3/hook/T0?key=abc")

    text = refusal.value.message + refusal.value.hint
    assert "10.1.2.3" in text
    assert not [secret for secret in ("name:", "word@", "T0", "abc") if secret in text]


@pytest.mark.parametrize(
    ("url", "host", "header"),
    [
        ("http://feed.example/a?b=1#c", "feed.example", "feed.example"),
        ("http://FEED.example./a?b=1", "feed.example", "feed.example"),
        ("http://feed.example:443/a?b=1", "feed.example", "feed.example:443"),
        ("http://m\u00fcller.example/a?b=1", "xn--mller-kva.example", "xn--mller-kva.example"),
        (f"http://{PUBLIC}/a?b=1", PUBLIC, PUBLIC),
        ("http://[2606:4700::1111]/a?b=1", "2606:4700::1111", "[2606:4700::1111]"),
    ],
)
async def test_c13_a_public_address_is_called_by_its_name(url: str, host: str, header: str) -> None:
    async with serving(replying("news")) as fake:
        found = {PUBLIC: fake, "2606:4700::1111": fake}
        async with calling(names={host: [PUBLIC]}, found=found) as outgoing:
            answer = await outgoing.request("GET", url)

    assert (200, b"news") == (answer.status, answer.body)
    assert fake.requests[0].startswith("GET /a?b=1 HTTP/1.1\r\n")
    assert f"host: {header}\r\n" in fake.requests[0].lower()


async def test_c13_a_name_that_changes_its_address_is_called_at_the_checked_one() -> None:
    lookups = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    called = []

    async def resolve(_host: str, _port: int) -> list[str]:
        return next(lookups)

    async with serving(replying(answering("503 Busy"), "news")) as fake:

        def reach(address: str, port: int) -> tuple[str, int]:
            called.append((address, port))
            return "127.0.0.1", fake.port

        outgoing = Outgoing(resolve=resolve, reach=reach)
        answer = await outgoing.request("GET", "http://feed.example/")
        with pytest.raises(AddressRefused):
            await outgoing.request("GET", "http://feed.example/")
        await outgoing.close()

    assert (200, 2) == (answer.status, len(fake.requests))
    assert [(PUBLIC, 80)] == called


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/inside",
        "http://127.0.0.1:{port}/inside",
        "//127.0.0.1/inside",
        "http://localhost/inside",
        "http://inside.example/",
        "http://feed.example:8080/",
        "http://name:word@feed.example/",
        "file:///etc/passwd",
        "http://[::1",
    ],
)
async def test_c13_a_redirect_inside_is_refused(location: str) -> None:
    names = {"feed.example": [PUBLIC], "inside.example": ["10.0.0.1"]}

    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        _, port = writer.get_extra_info("sockname")
        writer.write(answering("302 Found", f"location: {location.format(port=port)}\r\n"))

    async with serving(reply) as fake, calling(fake, names=names, found={PUBLIC: fake}) as outgoing:
        with pytest.raises(AddressRefused):
            await outgoing.request("GET", "http://feed.example/")

    assert 1 == len(fake.requests)


async def test_c13_three_redirects_are_followed_and_a_fourth_is_refused() -> None:
    on = [answering("302 Found", f"location: /{number}\r\n") for number in range(3)]
    names = {"feed.example": [PUBLIC]}
    async with (
        serving(replying(*on, "news")) as fake,
        calling(names=names, found={PUBLIC: fake}) as outgoing,
    ):
        answer = await outgoing.request("GET", "http://feed.example/?a=1", params={"b": "2"})
    async with (
        serving(replying(*on, on[0], "news")) as endless,
        calling(names=names, found={PUBLIC: endless}) as outgoing,
    ):
        with pytest.raises(AddressRefused, match="more than 3 redirects"):
            await outgoing.request("GET", "http://feed.example/")

    assert b"news" == answer.body
    assert ["/?a=1&b=2", "/0", "/1", "/2"] == [text.split()[1] for text in fake.requests]


async def test_c13_the_headers_of_a_call_do_not_follow_it_to_another_origin() -> None:
    names = {"feed.example": [PUBLIC], "other.example": [OTHER]}
    here = answering("301 Moved", "location: /there\r\n")
    away = answering("301 Moved", "location: http://other.example/\r\n")
    headers = {"Authorization": "Bearer word", "X-Key": "word", "Accept": "text/html"}
    async with (
        serving(replying("news")) as other,
        serving(replying(here, away)) as fake,
        calling(names=names, found={PUBLIC: fake, OTHER: other}) as outgoing,
    ):
        await outgoing.request("GET", "http://feed.example/", headers=headers)

    assert "Bearer word" in fake.requests[1]
    assert "word" not in other.requests[0]
    assert "accept: text/html\r\n" in other.requests[0].lower()
    assert "host: other.example\r\n" in other.requests[0].lower()


async def test_c13_a_redirect_of_a_post_is_an_answer() -> None:
    away = answering("307 Temporary", "location: http://127.0.0.1/\r\n")
    async with (
        serving(replying(away)) as fake,
        calling(names={"feed.example": [PUBLIC]}, found={PUBLIC: fake}) as outgoing,
    ):
        answer = await outgoing.request("POST", "http://feed.example/", json={})

    assert 307 == answer.status


async def test_c13_a_redirect_of_a_vendor_is_an_answer() -> None:
    away = answering("302 Found", "location: http://feed.example/\r\n")
    async with serving(replying(away)) as fake, calling(fake) as outgoing:
        answer = await outgoing.request("GET", f"{fake.url}/v1")

    assert (302, "http://feed.example/") == (answer.status, answer.headers["location"])
    assert 1 == len(fake.requests)


async def test_c13_a_vendor_is_its_scheme_host_and_port() -> None:
    async with (
        serving(replying("{}")) as fake,
        serving(replying("{}")) as neighbour,
        calling(fake) as outgoing,
    ):
        answer = await outgoing.request("GET", f"{fake.url}/v2/other")
        for url in (f"{neighbour.url}/", f"https://127.0.0.1:{fake.port}/"):
            with pytest.raises(AddressRefused):
                await outgoing.request("GET", url)

    assert {} == answer.json()
    assert (1, 0) == (len(fake.requests), len(neighbour.requests))


async def test_c13_an_answer_may_have_as_many_bytes_as_allowed_and_no_more() -> None:
    async with serving(replying("x" * 100)) as fake, calling(fake) as outgoing:
        answer = await outgoing.request("GET", fake.url, max_bytes=100)
        with pytest.raises(VendorRefused, match="more than 99 bytes"):
            await outgoing.request("GET", fake.url, max_bytes=99)

    assert 100 == len(answer.body)


async def test_c13_an_endless_answer_is_cut_off() -> None:
    sent = 0

    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with (
        serving(reply) as fake,
        calling(names={"feed.example": [PUBLIC]}, found={PUBLIC: fake}) as outgoing,
    ):
        with pytest.raises(VendorRefused, match=r"^feed\.example answers with more than"):
            await outgoing.request("GET", "http://feed.example/")

    assert sent < 50_000_000


async def test_c13_a_packed_answer_is_refused() -> None:
    packed = gzip.compress(b"x" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    async with serving(replying(head.encode() + packed)) as fake, calling(fake) as outgoing:
        with pytest.raises(VendorRefused, match="encoding"):
            await outgoing.request("GET", fake.url, headers={"Accept-Encoding": "gzip"})

    assert "accept-encoding: identity\r\n" in fake.requests[0].lower()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that proves to be feed.example, and a client that trusts its authority."""
    folder = tmp_path_factory.mktemp("tls")
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test authority")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "feed.example")])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())

    def signed(name: x509.Name, extension: x509.ExtensionType, *, path: str) -> Path:
        certificate = (
            x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(extension, critical=True)
            .add_extension(key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        file = folder / path
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file

    root = signed(issuer, x509.BasicConstraints(ca=True, path_length=None), path="root.pem")
    names = x509.SubjectAlternativeName([x509.DNSName("feed.example")])
    leaf = signed(subject, names, path="leaf.pem")
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf, folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(root))


async def test_c13_tls_proves_the_name_and_not_the_address(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = authority
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    names = {"feed.example": [PUBLIC], "other.example": [PUBLIC]}
    async with (
        serving(replying("news"), tls=server) as fake,
        calling(names=names, found={PUBLIC: fake}, tls=trusting) as outgoing,
    ):
        answer = await outgoing.request("GET", "https://feed.example/")
        with pytest.raises(VendorUnreachable, match=r"^other\.example does not prove its name"):
            await outgoing.request("GET", "https://other.example/", is_idempotent=False)

    assert b"news" == answer.body
    assert ["feed.example", "other.example"] == asked
    assert 1 == len(fake.requests)


async def test_c13_an_authority_that_this_machine_does_not_trust_proves_nothing(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with serving(replying("news"), tls=authority[0]) as fake:
        outgoing = Outgoing(reach=lambda _address, _port: ("127.0.0.1", fake.port), retries=0)
        with pytest.raises(VendorUnreachable, match="does not prove its name"):
            await outgoing.request("GET", f"https://{PUBLIC}/")
        await outgoing.close()

    assert [] == fake.requests


async def test_c13_a_redirect_from_https_to_http_is_refused(
    authority: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    away = answering("302 Found", "location: http://feed.example/\r\n")
    async with serving(replying(away), tls=authority[0]) as fake:
        names, found = {"feed.example": [PUBLIC]}, {PUBLIC: fake}
        async with calling(names=names, found=found, tls=authority[1]) as outgoing:
            with pytest.raises(AddressRefused, match="from https to http"):
                await outgoing.request("GET", "https://feed.example/")

    assert 1 == len(fake.requests)
