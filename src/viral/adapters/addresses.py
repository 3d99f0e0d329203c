"""Which addresses outside may be called: those of the public internet, and nothing nearer."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from viral.errors import AddressRefused, VendorUnreachable

# Gives the addresses of a host, in the order in which they are to be tried.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

HINT = (
    "Give an http or https address of the public internet, on port 80 or 443, "
    "without a name or password in it."
)

# Public by the registry of IANA, yet answered by the network of this machine.
NEAR_V4 = (
    IPv4Network("168.63.129.16/32"),  # Azure: the agent of the host, secrets of the machine
    IPv4Network("192.0.0.0/24"),  # the gateway (RFC 7723, 8155), Oracle's metadata
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
)
# Only these are given to servers; the rest of IPv6 is local, mapped, multicast or unused.
GLOBAL_V6 = IPv6Network("2000::/3")
NEAR_V6 = (
    IPv6Network("2001::/23"),  # protocols: Teredo, benchmarks, ORCHID
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
# In a network without IPv4, DNS64 answers with these for every name that has IPv4 alone.
NAT64 = IPv6Network("64:ff9b::/96")

# RFC 6761, 6762, 7686, 8375, and what ICANN keeps for use inside.
INSIDE = frozenset({"arpa", "home", "internal", "invalid", "lan", "local", "localhost", "onion"})
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What inet_aton() of the C library reads as a number: octal and hexadecimal ones too.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
LONGEST_HOST = 253


def is_public(address: str) -> bool:
    """Whether an address, of either version, belongs to the public internet."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    if parsed.scope_id is not None:
        return False
    if parsed in NAT64:
        return _is_public_v4(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    near = any(parsed in network for network in NEAR_V6)
    return parsed in GLOBAL_V6 and parsed.is_global and not near


def _is_public_v4(address: IPv4Address) -> bool:
    near = any(address in network for network in NEAR_V4)
    return address.is_global and not address.is_multicast and not near


def refused(host: str, reason: str) -> AddressRefused:
    """Say which host may not be called, and why; nothing else of the URL is told."""
    return AddressRefused(f"{host[:100]} may not be called: {reason}.", hint=HINT)


async def public_addresses(host: str, port: int, resolve: Resolver) -> list[str]:
    """Resolve a host once and give its addresses; AddressRefused when any of them is not public.

    The host is lower-case ASCII without brackets and without a dot at the end. Whoever calls it
    connects to these addresses and does not ask again: a second answer may be another one.
    """
    literal = _literal(host)
    if literal is None:
        _check_name(host)
    found = await resolve(host, port) if literal is None else [literal]
    if not found:
        raise VendorUnreachable(f"{host} has no address.")
    # One reason for all: what a name means inside this network is nobody's business.
    if not all(is_public(address) for address in found):
        raise refused(host, "it does not lead to the public internet")
    return list(dict.fromkeys(found))


def _literal(host: str) -> str | None:
    """Give a host that is an address; odd spellings of one are refused, whatever they mean."""
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise refused(host, "it is no IPv6 address") from None
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise refused(host, "an IPv4 address has four decimal numbers") from None
    return None


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > LONGEST_HOST or not all(LABEL.fullmatch(label) for label in labels):
        raise refused(host, "it is no host's name")
    if len(labels) == 1 or labels[-1] in INSIDE:
        raise refused(host, "its name is of a network inside")


async def resolve_name(host: str, port: int) -> list[str]:
    """Ask the resolver of this machine; VendorUnreachable when it knows no such name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise VendorUnreachable(
            f"{host} has no address.", hint="Check the name, and the network of this machine."
        ) from error
    return [str(sockaddr[0]) for *_, sockaddr in found]
