"""S3 on 127.0.0.1: objects of one bucket, in memory, over its REST API.

Shapes are those of docs.aws.amazon.com/AmazonS3/latest/API: GetObject with Range, HeadObject,
PutObject, DeleteObject, DeleteObjects, ListObjectsV2 with pages, and multipart uploads. Nothing
here comes from the code under test.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
ACCESS_KEY = "AKIAFAKEOFTHETESTS"
SECRET_KEY = "a-secret-of-the-tests"
PAGE = 3
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class FakeS3:
    """A bucket named `bucket`; use it as a context manager."""

    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    # An answer instead of the right one, by method: a status and a code.
    instead: dict[str, tuple[int, str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        fake: FakeS3 = self
        self._numbers = count(1)

        class Handler(_Handler):
            s3 = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Give the address that the product is told."""
        return f"s3://bucket/some/prefix?endpoint=http://127.0.0.1:{self._server.server_port}"

    def new_upload(self) -> str:
        name = f"upload-{next(self._numbers)}"
        self.uploads[name] = {}
        return name


class _Handler(BaseHTTPRequestHandler):
    s3: FakeS3
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if not self._begin():
            return
        if self._key:
            self._send_object()
        else:
            self._send_list()

    def do_HEAD(self) -> None:
        if self._begin():
            self._send_object()

    def do_PUT(self) -> None:
        if not self._begin():
            return
        tag = f'"{hashlib.md5(self._body, usedforsecurity=False).hexdigest()}"'
        if "partNumber" in self._query:
            parts = self.s3.uploads.get(self._query["uploadId"])
            if parts is None:
                # Aborted in between.
                self._answer(404)
                return
            parts[int(self._query["partNumber"])] = self._body
        else:
            self.s3.objects[self._key] = (self._body, time.time())
        self._answer(200, headers={"ETag": tag})

    def do_POST(self) -> None:
        if not self._begin():
            return
        if "uploads" in self._query:
            upload = self.s3.new_upload()
            self._answer_xml(
                "InitiateMultipartUploadResult",
                f"<Bucket>bucket</Bucket><Key>{escape(self._key)}</Key>"
                f"<UploadId>{upload}</UploadId>",
            )
        elif "uploadId" in self._query:
            parts = self.s3.uploads.pop(self._query["uploadId"])
            content = b"".join(parts[number] for number in sorted(parts))
            self.s3.objects[self._key] = (content, time.time())
            self._answer_xml("CompleteMultipartUploadResult", '<ETag>"whole"</ETag>')
        elif "delete" in self._query:
            keys = [key.text or "" for key in ET.fromstring(self._body).iter() if _is_key(key)]
            for key in keys:
                self.s3.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer_xml("DeleteResult", deleted)

    def do_DELETE(self) -> None:
        if not self._begin():
            return
        if "uploadId" in self._query:
            self.s3.uploads.pop(self._query["uploadId"], None)
        else:
            self.s3.objects.pop(self._key, None)
        self._answer(204)

    def _begin(self) -> bool:
        """Read the request; refuse a stranger, and what is to be refused."""
        parts = urlsplit(self.path)
        pairs = parse_qs(parts.query, keep_blank_values=True)
        self._query = {name: values[0] for name, values in pairs.items()}
        bucket, _, self._key = unquote(parts.path).lstrip("/").partition("/")
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.calls[self.command] += 1
        if self.command in self.s3.instead:
            self._refuse(*self.s3.instead[self.command])
        elif f"Credential={ACCESS_KEY}/" not in self.headers.get("Authorization", ""):
            self._refuse(403, "InvalidAccessKeyId")
        elif bucket != "bucket":
            self._refuse(404, "NoSuchBucket")
        else:
            return True
        return False

    def _send_object(self) -> None:
        if self._key not in self.s3.objects:
            self._refuse(404, "NoSuchKey")
            return
        content, changed_at = self.s3.objects[self._key]
        headers = {"ETag": '"whole"', "Last-Modified": formatdate(changed_at, usegmt=True)}
        status, whole = 200, len(content)
        if asked := _RANGE.fullmatch(self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2] or whole - 1), whole - 1)
            content, status = content[start : end + 1], 206
            headers["Content-Range"] = f"bytes {start}-{end}/{whole}"
        self._answer(status, content, headers)

    def _send_list(self) -> None:
        keys = sorted(key for key in self.s3.objects if key.startswith(self._query["prefix"]))
        rest = [key for key in keys if key > self._query.get("continuation-token", "")]
        page, is_cut = rest[:PAGE], len(rest) > PAGE
        entries = "".join(self._entry(key) for key in page)
        last = escape(page[-1]) if is_cut else ""
        self._answer_xml(
            "ListBucketResult",
            f"<Name>bucket</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"
            f"<NextContinuationToken>{last}</NextContinuationToken>{entries}",
        )

    def _entry(self, key: str) -> str:
        content, changed_at = self.s3.objects[key]
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(changed_at))
        return (
            f"<Contents><Key>{escape(quote(key, safe='/'))}</Key>"
            f"<LastModified>{moment}</LastModified><ETag>&quot;whole&quot;</ETag>"
            f"<Size>{len(content)}</Size></Contents>"
        )

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        self._answer(status, b"" if self.command == "HEAD" else body.encode())

    def _answer_xml(self, name: str, content: str) -> None:
        document = f'<?xml version="1.0"?><{name} xmlns="{NAMESPACE}">{content}</{name}>'
        self._answer(200, document.encode(), {"Content-Type": "application/xml"})

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _is_key(element: ET.Element) -> bool:
    return element.tag.rpartition("}")[2] == "Key"
