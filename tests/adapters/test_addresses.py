"""Which addresses belong to the public internet, and which hosts are refused unasked."""

from __future__ import annotations

import pytest

from viral.adapters.addresses import is_public, public_addresses, resolve_name
from viral.errors import AddressRefused, VendorUnreachable

NEAR = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's
    "169.254.169.254",
    "169.254.170.2",  # the credentials of Amazon's containers
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.9",
    "192.0.0.192",  # Oracle's
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::e000:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:1::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "1",
]

PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "223.255.255.255",
    "64:ff9b::808:808",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
]


async def _unasked(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was looked up")


@pytest.mark.parametrize("address", NEAR)
def test_c13_an_address_that_is_near_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_c13_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NEAR)
async def test_c13_a_name_with_one_near_address_is_refused_whole(address: str) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["93.184.216.34", address]

    with pytest.raises(AddressRefused, match=r"^feed\.example may not be called: ") as refusal:
        await public_addresses("feed.example", 80, resolve)

    assert not address or address not in refusal.value.message


async def test_a_name_is_looked_up_once_and_its_addresses_keep_their_order() -> None:
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["2606:4700:4700::1111", "1.1.1.1", "1.1.1.1"]

    addresses = await public_addresses("feed.example", 443, resolve)

    assert ["2606:4700:4700::1111", "1.1.1.1"] == addresses
    assert [("feed.example", 443)] == asked


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:4700:4700::1111"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    assert [host] == await public_addresses(host, 80, _unasked)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "metadata",
        "metadata.google.internal",
        "printer.local",
        "router.lan",
        "nas.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "x.localhost",
        "hidden.onion",
        "a..example",
        "-a.example",
        "a b.example",
        "a%2e.example",
        "a" * 64 + ".example",
        "a." * 126 + "example",
    ],
)
async def test_c13_a_name_of_a_network_inside_is_refused_unasked(host: str) -> None:
    with pytest.raises(AddressRefused):
        await public_addresses(host, 80, _unasked)


async def test_a_name_without_addresses_is_unreachable() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return []

    with pytest.raises(VendorUnreachable, match=r"^feed\.example has no address"):
        await public_addresses("feed.example", 80, resolve)


async def test_the_resolver_of_this_machine_knows_this_machine() -> None:
    assert "127.0.0.1" in await resolve_name("127.0.0.1", 80)


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    # RFC 6761: resolvers answer this name themselves.
    with pytest.raises(VendorUnreachable, match=r"^nobody\.invalid has no address"):
        await resolve_name("nobody.invalid", 80)
