"""What Inngest is told about this installation: one app with one function.

Source: github.com/inngest/inngest, docs/SDK_SPEC.md, 4.3 (sync) and 4.5 (introspection). In-band,
the app is told in the answer to a signed PUT; out-of-band, by a POST to Inngest's API.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from viral.adapters.inngest.signature import api_token
from viral.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APP = "viral"
EVENT = "viral/job"
# A function's id outside is its app's, a dash and its own.
FUNCTION = f"{APP}-job"
# While this installation is away Inngest calls again, with pauses that grow, for about an hour.
RETRIES = 10
SDK = "viral-dashboard"
_VERSION = version("viral-dashboard")
# What every request to Inngest and every answer to it carries (4.1.2, 4.1.4).
HEADERS: Mapping[str, str] = {
    "content-type": "application/json",
    "x-inngest-framework": SDK,
    "x-inngest-req-version": "2",
    "x-inngest-sdk": f"{SDK}:v{_VERSION}",
}


@dataclass(frozen=True, slots=True)
class App:
    """The addresses and keys that Inngest may compare with its own; of keys, their hashes."""

    api_url: str
    event_url: str
    serve_url: str
    event_key: str
    signing_keys: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse an address that a function's own could not be made from."""
        parts = urlsplit(self.serve_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _unusable("is no http or https URL with a host")
        if parts.username or parts.query or parts.fragment:
            raise _unusable("holds a name, a query or a fragment")

    def functions(self) -> list[dict[str, object]]:
        """Describe the one function.

        It has no limit of concurrency: an event names no tenant, so fairness between tenants, and
        how many of a tenant's jobs run at once, stay the queue's, which decides what is sent.
        It has no idempotency key either: events that come twice have the same id.
        """
        url = f"{self.serve_url}?{urlencode({'fnId': FUNCTION, 'stepId': 'step'})}"
        step = {
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": url},
            "retries": {"attempts": RETRIES},
        }
        return [
            {
                "id": FUNCTION,
                "name": "Run a job of Viral Dashboard",
                "triggers": [{"event": EVENT}],
                "steps": {"step": step},
            }
        ]

    def registration(self) -> dict[str, object]:
        """Make the body of an out-of-band sync (4.3.2)."""
        return {
            "url": self.serve_url,
            "deployType": "ping",
            "appName": APP,
            "sdk": HEADERS["x-inngest-sdk"],
            "v": "0.1",
            "framework": SDK,
            "functions": self.functions(),
        }

    def in_band(self) -> dict[str, object]:
        """Make the body of the answer to an in-band sync, as Inngest's own clients do."""
        return {
            "app_id": APP,
            "framework": SDK,
            "functions": self.functions(),
            "inspection": self.inspection(),
            "sdk_author": SDK,
            "sdk_language": "py",
            "sdk_version": _VERSION,
            "url": self.serve_url,
        }

    def inspection(self) -> dict[str, object]:
        """Tell a signed GET how this installation is set up (4.5)."""
        serve = urlsplit(self.serve_url)
        hashes = [*(api_token(key).rpartition("-")[2] for key in self.signing_keys), None]
        return {
            "schema_version": "2024-05-24",
            "api_origin": self.api_url,
            "app_id": APP,
            "authentication_succeeded": True,
            "capabilities": {"in_band_sync": "v1", "trust_probe": "v1"},
            "event_api_origin": self.event_url,
            "event_key_hash": sha256(self.event_key.encode()).hexdigest(),
            "framework": SDK,
            "function_count": 1,
            "has_event_key": True,
            "has_signing_key": True,
            "has_signing_key_fallback": len(self.signing_keys) > 1,
            "mode": "cloud",
            "sdk_language": "py",
            "sdk_version": _VERSION,
            "serve_origin": f"{serve.scheme}://{serve.netloc}",
            "serve_path": serve.path,
            "signing_key_hash": hashes[0],
            "signing_key_fallback_hash": hashes[1],
        }


def _unusable(why: str) -> BadSetting:
    return BadSetting(
        f"INNGEST_SERVE_URL {why}.",
        hint="Write the address that Inngest reaches: `https://studio.example/api/inngest`.",
    )
