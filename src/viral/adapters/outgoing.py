"""Every call to the outside: one deadline, bounded answers, and no way into the network inside."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from json import loads
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

import httpx2
import structlog

from viral.adapters.addresses import HINT, Resolver, public_addresses, refused, resolve_name
from viral.errors import AddressRefused, VendorRefused, VendorUnreachable, ViralError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

REDIRECTS = 3
# More addresses than these would leave each too little of the deadline.
ADDRESSES = 4
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
NO_URL = "The address is no http or https URL with a host."
PORTS = {"http": 80, "https": 443}
# RFC 9110, 9.2.2.
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
REDIRECTED = frozenset({"GET", "HEAD"})
REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
TOO_MANY_REQUESTS = 429
SERVER_FAILED = 500
# What another origin may see of the caller's headers after a redirect: any other may be a secret.
HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status; the names of `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Read the body as JSON, or raise VendorRefused."""
        try:
            document: object = loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "of no type")
            raise VendorRefused(
                f"An answer with status {self.status} should be JSON and is {kind}.",
                hint="Check that the configured URL is the one of the service's API.",
            ) from None
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    request: httpx2.Request
    is_vendor: bool
    is_idempotent: bool
    max_bytes: int
    deadline: float  # in the seconds of the event loop's clock
    is_path_secret: bool = False

    @property
    def host(self) -> str:
        return _host(self.request.url)


@dataclass(slots=True)
class _Record:
    """What the log tells of a call."""

    status: int | None = None
    attempt: int = 0
    error: str | None = None


class Outgoing:
    """The HTTP client of the product, for one event loop; it knows no proxies and no cookies.

    A vendor's base URL stands for its whole origin, wherever that is: the operator configured it.
    Any other URL is guarded: it reaches the public internet only (OWASP ASVS 5.0, 1.3.6). Where
    strangers write the URL, use an Outgoing without vendors, or theirs may name a vendor's.
    """

    def __init__(
        self,
        *,
        vendors: Iterable[str] = (),
        timeout_s: float = 10.0,
        retries: int = 2,
        resolve: Resolver = resolve_name,
        reach: Callable[[str, int], tuple[str, int]] = lambda address, port: (address, port),
        tls: ssl.SSLContext | None = None,
        rng: Random | None = None,
    ) -> None:
        """Open nothing yet.

        `reach` says where a checked address and port are found: elsewhere in tests alone.
        """
        self._vendors = {_parsed(vendor).origin for vendor in vendors}
        self._timeout_s = timeout_s
        self._retries = retries
        self._resolve = resolve
        self._reach = reach
        self._tls = tls or httpx2.create_ssl_context(trust_env=False)
        self._rng = rng or Random()  # noqa: S311 - spreads retries, no secret
        self._vendor_wire = httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        is_idempotent: bool | None = None,
        is_path_secret: bool = False,
        max_bytes: int = 1_000_000,
    ) -> Answer:
        """Send a request and read its answer, of any status, within `timeout_s` altogether.

        GET, HEAD, PUT, DELETE, and what carries an Idempotency-Key or is said to be idempotent,
        is sent again after a failed connection, 429 and 5xx. Redirects of vendors are answers;
        a guarded GET or HEAD follows three, each guarded again, and leaves its headers behind
        when the origin changes. A path that holds a key is kept out of the log by
        `is_path_secret`. Raises AddressRefused, VendorUnreachable, and VendorRefused when
        the answer is larger than `max_bytes` or encoded.
        """
        target = _parsed(url)
        sent = _headers(target, headers or {})
        request = httpx2.Request(
            method,
            target.copy_merge_params(params) if params else target,
            headers=sent,
            json=json,
            data=form,
        )
        if is_idempotent is None:
            is_idempotent = request.method in IDEMPOTENT or "idempotency-key" in sent
        call = _Call(
            request=request,
            is_vendor=target.origin in self._vendors,
            is_idempotent=is_idempotent,
            max_bytes=max_bytes,
            deadline=asyncio.get_running_loop().time() + self._timeout_s,
            is_path_secret=is_path_secret,
        )
        return await self._recorded(call)

    def sdk_client(self, *, longest_wait_s: float, max_bytes: int) -> httpx2.AsyncClient:
        """Give a vendor's SDK a client over the wire to vendors, under the rules of this module.

        It calls vendors only, follows no redirects, keeps no cookies, and takes no answer of more
        than `max_bytes`. The SDK does the attempts and the time-outs: it is told not to wait when
        the vendor asks for more than `longest_wait_s`. Failed connections are VendorUnreachable.
        """
        wire = _SdkWire(self._vendor_wire, self._vendors, longest_wait_s, max_bytes)
        return httpx2.AsyncClient(transport=wire, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._vendor_wire.aclose()

    async def _recorded(self, call: _Call) -> Answer:
        """Carry a call out and log it in one line, without its query, headers and bodies."""
        record, started = _Record(), monotonic()
        try:
            async with asyncio.timeout_at(call.deadline):
                return await self._followed(call, record)
        except TimeoutError as error:
            record.error = VendorUnreachable.code
            raise VendorUnreachable(
                f"{call.host} did not answer within {self._timeout_s:g} s.",
                hint="Try again later; if it stays so, check the network of this machine.",
            ) from error
        except ViralError as error:
            record.error = error.code
            raise
        finally:
            log.info(
                "outgoing.call",
                method=call.request.method,
                host=call.host,
                # The path of a webhook at a chat service is its password.
                path=None if call.is_path_secret or not call.is_vendor else call.request.url.path,
                status=record.status,
                duration_ms=round((monotonic() - started) * 1000),
                attempt=record.attempt,
                error=record.error,
            )

    async def _followed(self, call: _Call, record: _Record) -> Answer:
        if call.is_vendor:
            return await self._attempted(call, record, self._vendor_wire, [call.request])
        for _ in range(REDIRECTS + 1):
            answer = await self._guarded(call, record)
            following = _redirected(call, answer)
            if following is None:
                return answer
            call = following
        raise refused(call.host, f"it comes after more than {REDIRECTS} redirects")

    async def _guarded(self, call: _Call, record: _Record) -> Answer:
        """Send to the addresses that were checked, over connections of this call alone.

        Connections are not shared: TLS has proven one name for each, and two names may have
        the same address.
        """
        url = call.request.url
        port = PORTS[url.scheme] if url.port is None else url.port
        if port not in PORTS.values():
            raise refused(call.host, f"port {port} is not 80 or 443")
        addresses = (await public_addresses(call.host, port, self._resolve))[:ADDRESSES]
        connect_s = self._timeout_s / len(addresses)
        pinned = [
            _pinned(call.request, *self._reach(address, port), connect_s=connect_s)
            for address in addresses
        ]
        wire = httpx2.AsyncHTTPTransport(
            verify=self._tls,
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        async with wire:
            return await self._attempted(call, record, wire, pinned)

    async def _attempted(
        self,
        call: _Call,
        record: _Record,
        wire: httpx2.AsyncHTTPTransport,
        requests: Sequence[httpx2.Request],
    ) -> Answer:
        """Send until there is an answer to keep, or no attempt or no time is left."""
        most = 1 + self._retries if call.is_idempotent else 1
        for attempt in range(1, most + 1):
            record.attempt, record.status = attempt, None
            try:
                outcome: Answer | VendorUnreachable = await _first_that_connects(
                    call, wire, requests
                )
            except VendorUnreachable as error:
                outcome = error
            record.status = outcome.status if isinstance(outcome, Answer) else None
            pause_s = self._pause_s(outcome, attempt=attempt)
            left_s = call.deadline - asyncio.get_running_loop().time()
            if attempt == most or pause_s is None or pause_s > min(left_s, LONGEST_PAUSE_S):
                break
            await asyncio.sleep(pause_s)
        if isinstance(outcome, VendorUnreachable):
            raise outcome
        return outcome

    def _pause_s(self, outcome: Answer | VendorUnreachable, *, attempt: int) -> float | None:
        """Say how long to wait before the next attempt; None when the outcome is to be kept."""
        pause_s = FIRST_PAUSE_S * 2.0 ** (attempt - 1) * self._rng.uniform(0.5, 1.0)
        if isinstance(outcome, VendorUnreachable):
            return pause_s
        if outcome.status == TOO_MANY_REQUESTS or outcome.status >= SERVER_FAILED:
            return max(pause_s, _retry_after_s(outcome))
        return None


class _SdkWire(httpx2.AsyncBaseTransport):
    """The wire to vendors as an SDK may use it."""

    def __init__(
        self,
        wire: httpx2.AsyncHTTPTransport,
        vendors: set[httpx2.Origin],
        longest_wait_s: float,
        max_bytes: int,
    ) -> None:
        self._wire = wire
        self._vendors = vendors
        self._longest_wait_s = longest_wait_s
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = _host(request.url)
        if request.url.origin not in self._vendors:
            raise refused(host, "it is no vendor of the settings")
        request.headers.pop("cookie", None)
        try:
            response = await self._wire.handle_async_request(request)
        except httpx2.LocalProtocolError:
            raise _unsendable(host) from None
        except httpx2.TransportError as error:
            raise _unreachable(host, error) from error
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise _encoded(host)
        self._bound_wait(response)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, host, self._max_bytes)
        return response

    def _bound_wait(self, response: httpx2.Response) -> None:
        """Leave one header that says how long to wait, in seconds, and no wait that is too long."""
        answer = Answer(response.status_code, dict(response.headers.items()), b"")
        wait_s = _retry_after_s(answer)
        for name in ("retry-after-ms", "retry-after"):
            response.headers.pop(name, None)
        if wait_s > self._longest_wait_s:
            response.headers["x-should-retry"] = "false"
        elif wait_s > 0:
            response.headers["retry-after"] = f"{wait_s:g}"


class _Bounded(httpx2.AsyncByteStream):
    """An answer's body up to its limit."""

    def __init__(self, stream: httpx2.AsyncByteStream, host: str, max_bytes: int) -> None:
        self._stream = stream
        self._host = host
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        try:
            async for part in self._stream:
                read += len(part)
                if read > self._max_bytes:
                    raise _too_long(self._host, self._max_bytes)
                yield part
        except httpx2.TransportError as error:
            raise _unreachable(self._host, error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii")


def _parsed(url: str) -> httpx2.URL:
    """Read a URL; this one reading of it decides both what is checked and what is called."""
    try:
        read = httpx2.URL(url)
        parsed = read.copy_with(host=_host(read).removesuffix("."))
        # A URL without a host has no origin, nor has a name that is broken Punycode.
        scheme = parsed.origin.scheme
    except (httpx2.InvalidURL, ValueError):
        raise AddressRefused(NO_URL, hint=HINT) from None
    if scheme not in PORTS:
        raise AddressRefused(NO_URL, hint=HINT)
    if parsed.userinfo:
        raise refused(_host(parsed), "the address holds a name or password")
    return parsed


def _headers(url: httpx2.URL, headers: Mapping[str, str]) -> httpx2.Headers:
    named = {name.lower(): value for name, value in headers.items()}
    always = {"accept-encoding": "identity"}
    try:
        return httpx2.Headers({"user-agent": "viral-dashboard", "accept": "*/*"} | named | always)
    except UnicodeEncodeError:
        raise _unsendable(_host(url)) from None


def _pinned(
    request: httpx2.Request, address: str, port: int, *, connect_s: float
) -> httpx2.Request:
    """Aim a request at an address; its Host header and the name that TLS proves stay."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address, port=port),
        headers=request.headers,
        stream=request.stream,
        extensions={"sni_hostname": _host(request.url), "timeout": {"connect": connect_s}},
    )


async def _first_that_connects(
    call: _Call, wire: httpx2.AsyncHTTPTransport, requests: Sequence[httpx2.Request]
) -> Answer:
    """Send over the first address that takes the connection."""
    *others, last = requests
    for request in others:
        try:
            return await _sent(call, wire, request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            continue
    try:
        return await _sent(call, wire, last)
    except httpx2.LocalProtocolError:
        # Its text quotes the header.
        raise _unsendable(call.host) from None
    except httpx2.TransportError as error:
        raise _unreachable(call.host, error) from error


async def _sent(call: _Call, wire: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> Answer:
    response = await wire.handle_async_request(request)
    async with aclosing(response), aclosing(response.aiter_raw()) as parts:
        body = bytearray()
        async for part in parts:
            body += part
            if len(body) > call.max_bytes:
                raise _too_long(call.host, call.max_bytes)
    # Identity was asked for; to unpack it would need a second limit.
    if body and response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _encoded(call.host)
    return Answer(response.status_code, dict(response.headers.items()), bytes(body))


def _too_long(host: str, max_bytes: int) -> VendorRefused:
    return VendorRefused(f"{host} answers with more than {max_bytes} bytes.")


def _encoded(host: str) -> VendorRefused:
    return VendorRefused(f"{host} answers in an encoding that was not asked for.")


def _unsendable(host: str) -> VendorRefused:
    return VendorRefused(
        f"The call to {host} cannot be sent: a header has characters that HTTP refuses.",
        hint="Check the configured key for spaces, line ends and letters with accents.",
    )


def _unreachable(host: str, error: httpx2.TransportError) -> VendorUnreachable:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return VendorUnreachable(
                f"{host} does not prove its name: no trusted certificate stands for it.",
                hint="Check the address, and the certificates that this machine trusts.",
            )
        cause = cause.__cause__ or cause.__context__
    return VendorUnreachable(
        f"{host} cannot be reached or breaks the connection off.",
        hint="Try again later; if it stays so, check the network of this machine.",
    )


def _retry_after_s(answer: Answer) -> float:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date, which counts from the answer's."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        then, now = (
            parsedate_to_datetime(text) for text in (asked, answer.headers.get("date", ""))
        )
        return (then - now).total_seconds()
    except (OverflowError, TypeError, ValueError):
        return 0.0


def _redirected(call: _Call, answer: Answer) -> _Call | None:
    """Give the call that a redirect asks for; None when the answer is to be kept."""
    location = answer.headers.get("location")
    method = call.request.method
    if answer.status not in REDIRECTIONS or method not in REDIRECTED or not location:
        return None
    before = call.request.url
    try:
        url = _parsed(str(before.join(location)))
    except (httpx2.InvalidURL, ValueError):
        raise AddressRefused(NO_URL, hint=HINT) from None
    if (before.scheme, url.scheme) == ("https", "http"):
        raise refused(_host(url), "a redirect leads from https to http")
    headers = {name: value for name, value in call.request.headers.items() if name != "host"}
    if url.origin != before.origin:
        headers = {name: value for name, value in headers.items() if name in HARMLESS}
    return _Call(
        request=httpx2.Request(method, url, headers=headers),
        is_vendor=False,
        is_idempotent=call.is_idempotent,
        max_bytes=call.max_bytes,
        deadline=call.deadline,
    )
