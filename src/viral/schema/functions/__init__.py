"""The SQL functions of the schema: who owns each and who may call it. Bodies stand beside."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from viral.schema.security import APP, AUTH, MIGRATOR, OWNER, READONLY, SYSTEM, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Function:
    """One definer function in the schema `viral`; nobody but `callers` may execute it."""

    name: str
    arguments: str
    callers: tuple[str, ...]
    owner: str = AUTH

    @property
    def signature(self) -> str:
        return f"viral.{self.name}({self.arguments})"

    @property
    def body(self) -> str:
        return (files(__name__) / f"{self.name}.sql").read_text("utf-8").strip()

    def statements(self) -> Iterator[str]:
        """Yield the SQL that makes the function and says who may call it."""
        yield self.body
        yield f"REVOKE ALL ON FUNCTION {self.signature} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {self.signature} TO {', '.join(self.callers)}"


FUNCTIONS = (
    Function("tenant_id", "", (APP, READONLY)),
    Function(
        "create_tenant", "uuid, text, text, text, integer, boolean, bytea, integer", (APP, SYSTEM)
    ),
    Function("take_quota", "uuid, integer, uuid", (APP,)),
    Function("refund_quota", "uuid, uuid, integer", (APP,)),
    Function("open_session", "bytea, bytea, interval", (APP,)),
    Function("session_identity", "bytea", (APP,)),
    Function("end_session", "bytea", (APP,)),
    Function("heartbeat", "uuid", (WORKER,)),
    Function("claim_jobs", "uuid, integer", (WORKER,)),
    Function("finish_job", "uuid, uuid, integer, jsonb, text, timestamptz", (WORKER,)),
    Function("reap_jobs", "interval", (WORKER,)),
    Function("make_partitions", "", (WORKER, MIGRATOR), owner=OWNER),
)
