"""Backups in an S3 bucket, or in whatever speaks S3, through obstore."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from viral.errors import BackupError, BadSetting
from viral.postgres.backup.target import Stored, missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

# S3 takes 10,000 parts of an upload: 160 GB of them.
PART_BYTES = 16 << 20
PARTS_AT_ONCE = 2
READ_BYTES = 1 << 20
LIST_PAGE = 1000
# A large backup takes long; a connection on which nothing comes is dead.
LONGEST_REQUEST = timedelta(hours=24)
SILENCE = timedelta(seconds=60)
CONNECT = timedelta(seconds=10)
# obstore raises the one or the other.
_NOT_THERE = (NotFoundError, FileNotFoundError)
_CODE = re.compile(r"<Code>(\w+)</Code>")


class ObjectStore:
    """A bucket and a prefix in it; AWS_* outside say who we are, and where."""

    def __init__(self, url: str) -> None:
        """Take `s3://bucket/prefix`, or `s3://bucket/prefix?endpoint=https://host` for others.

        Without an endpoint it is AWS_ENDPOINT_URL's, else Amazon's.
        """
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        endpoint = options.pop("endpoint", None)
        if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc or options:
            raise BadSetting(
                "VIRAL_BACKUP_URL names no bucket.",
                hint="Write it as s3://bucket/prefix, or s3://bucket/prefix?endpoint=https://host."
                " The credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        self.location = f"s3://{parts.netloc}{parts.path.rstrip('/')}"
        self._prefix = f"{parts.path.strip('/')}/".lstrip("/")
        self._store = S3Store(
            parts.netloc,
            config={"endpoint": endpoint} if endpoint else {},
            client_options={
                "allow_http": endpoint is not None and _is_plain(endpoint),
                "connect_timeout": CONNECT,
                "read_timeout": SILENCE,
                "timeout": LONGEST_REQUEST,
            },
            retry_config={"max_retries": 4, "retry_timeout": SILENCE},
        )

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Upload an object: small in one request, large in parts that become one at the end."""
        source = _Source(chunks)
        with self._explained(name):
            start = await source.start()
            # What stops the content stops the upload, and comes out here as it was raised.
            await obstore.put_async(
                self._store,
                self._prefix + name,
                start if source.is_at_end else source.parts(start),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        return source.size_bytes

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Download an object."""
        with self._explained(name):
            try:
                found = await obstore.get_async(self._store, self._prefix + name)
            except _NOT_THERE as error:
                raise missing(name, self.location) from error
        stream = aiter(found.stream(min_chunk_size=READ_BYTES))
        while True:
            with self._explained(name):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    async def list(self, prefix: str) -> list[Stored]:
        """List objects; a prefix ends at a slash."""
        found = []
        with self._explained(prefix):
            pages = obstore.list(self._store, self._prefix + prefix, chunk_size=LIST_PAGE)
            async for page in pages:
                for each in page:
                    name = each["path"].removeprefix(self._prefix)
                    if name.startswith(prefix):
                        found.append(Stored(name, each["size"], each["last_modified"]))
        return sorted(found, key=lambda stored: stored.name)

    async def delete(self, name: str) -> None:
        """Delete an object."""
        with self._explained(name):
            try:
                await obstore.delete_async(self._store, self._prefix + name)
            except _NOT_THERE:
                return

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Say what went wrong; obstore's own words hold whole requests, and are left out."""
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BackupError(
                f"{self.location} refuses us at {name}{_code(error)}.",
                hint="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights of that key.",
            ) from error
        except (BaseError, OSError) as error:
            raise BackupError(
                f"{name} cannot be used in {self.location}{_code(error)}.",
                hint="Check that the bucket exists and answers: VIRAL_BACKUP_URL, AWS_REGION,"
                " AWS_ENDPOINT_URL.",
            ) from error


class _Source:
    """The content of an upload, and its size."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.size_bytes = 0
        self.is_at_end = False
        self._chunks = chunks

    async def start(self) -> bytes:
        """Read as much as one request takes."""
        content = bytearray()
        while len(content) < PART_BYTES:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.is_at_end = True
                break
            content += chunk
        self.size_bytes = len(content)
        return bytes(content)

    async def parts(self, start: bytes) -> AsyncIterator[bytes]:
        """Give what was read, and the rest."""
        yield start
        async for chunk in self._chunks:
            self.size_bytes += len(chunk)
            yield chunk


def _is_plain(endpoint: str) -> bool:
    """Tell whether an endpoint speaks plain http, which is taken from this machine alone."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https" and parts.hostname:
        return False
    try:
        is_here = ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_here = False
    if parts.scheme != "http" or not is_here:
        raise BadSetting(
            f"The endpoint {parts.scheme}://{parts.hostname or ''} of VIRAL_BACKUP_URL is not"
            " https.",
            hint="Plain http is for 127.0.0.1 alone: requests carry what the bucket trusts.",
        )
    return True


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return f" ({found[1]})" if found else ""
