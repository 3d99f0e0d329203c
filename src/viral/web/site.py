"""What the web layer knows about itself: its addresses, its cookies, its seals."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from viral.errors import BadSetting
from viral.features.limits import Limits
from viral.settings import Settings, listed

Network: TypeAlias = IPv4Network | IPv6Network

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Seals:
    """Signs what a browser keeps for us, for one purpose and one owner."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return "Seals(...)"

    def key(self, purpose: str) -> bytes:
        """Derive the key of one purpose."""
        if purpose not in self._keys:
            self._keys[purpose] = hmac.digest(self._pepper, f"web {purpose}".encode(), "sha256")
        return self._keys[purpose]

    def seal(self, purpose: str, owner: str, content: bytes) -> str:
        """Sign content for an owner, as text that fits a cookie or a query."""
        return _text(content) + "." + _text(self._mac(purpose, owner, content))

    def open(self, purpose: str, owner: str, sealed: str) -> bytes | None:
        """Return sealed content; None when it was altered, or made for somebody else."""
        try:
            content, mac = (_bytes(part) for part in sealed.split("."))
        except ValueError:
            return None
        return content if hmac.compare_digest(mac, self._mac(purpose, owner, content)) else None

    def _mac(self, purpose: str, owner: str, content: bytes) -> bytes:
        return hmac.digest(self.key(purpose), owner.encode() + b"\0" + content, "sha256")


@dataclass(frozen=True, slots=True)
class Site:
    """How people reach this installation, and what their browsers keep for it."""

    hosts: frozenset[str]
    proxies: tuple[Network, ...]
    limits: Limits
    is_secure: bool
    seals: Seals
    session_cookie: str
    flash_cookie: str
    csrf_cookie: str


def site_of(settings: Settings, pepper: bytes) -> Site:
    """Derive the site from the settings.

    Cookies are shared by all ports of a host. So the lesser ones carry a mark of the installation,
    and a form token that another one has left is never taken for ours.
    """
    seals = Seals(pepper)
    public = urlsplit(settings.public_url or "")
    is_secure = public.scheme == "https"
    prefix = "__Host-" if is_secure else ""
    mark = seals.key("cookies").hex()[:8]
    return Site(
        hosts=LOCAL_HOSTS | ({public.hostname} if public.hostname else frozenset()),
        proxies=_networks(settings.trusted_proxies),
        limits=Limits(
            address=settings.address_requests,
            user=settings.user_requests,
            tenant=settings.tenant_requests,
            key=settings.key_requests,
        ),
        is_secure=is_secure,
        seals=seals,
        session_cookie=f"{prefix}viral_session",
        flash_cookie=f"{prefix}viral_flash_{mark}",
        csrf_cookie=f"{prefix}viral_csrf_{mark}",
    )


# Most requests come from few addresses.
@lru_cache(maxsize=1024)
def address_of(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Tell where a request comes from: the last address that no trusted proxy vouches for.

    `forwarded_for` is the header X-Forwarded-For, to which each proxy appends who spoke to it.
    """
    address = peer
    for named in reversed(forwarded_for.split(",") if forwarded_for else []):
        if not any(_is_in(address, network) for network in proxies):
            break
        address = named.strip()
    try:
        return str(ip_address(address))
    except ValueError:
        # What a proxy passed on from a caller may be anything.
        return peer


def _is_in(address: str, network: Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(map(ip_network, listed(text)))
    except ValueError as error:
        raise BadSetting(
            f"VIRAL_TRUSTED_PROXIES cannot be used: {error}.",
            hint="Write networks, comma-separated: 10.0.0.0/8,::1.",
        ) from error


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not ASCII")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
