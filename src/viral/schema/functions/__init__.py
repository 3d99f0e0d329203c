"""The SQL functions of the schema: who owns each and who may call it. Bodies stand beside."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from viral.schema.security import APP, AUTH, MIGRATOR, OWNER, READONLY, SIGNIN, SYSTEM, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Function:
    """One function in the schema `viral`; nobody but `callers` may execute it.

    It runs as its owner, except one that reads nothing but its arguments. Without callers it is a
    part of others, which run as its owner.
    """

    name: str
    arguments: str
    callers: tuple[str, ...]
    owner: str = AUTH
    is_definer: bool = True

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
        if self.callers:
            yield f"GRANT EXECUTE ON FUNCTION {self.signature} TO {', '.join(self.callers)}"


FUNCTIONS = (
    Function("tenant_id", "", (APP, READONLY)),
    Function(
        "create_tenant", "uuid, text, text, text, integer, boolean, bytea, integer", (APP, SYSTEM)
    ),
    Function("take_quota", "uuid, integer, uuid", (APP,)),
    Function("refund_quota", "uuid, uuid, integer", (APP,)),
    # For an index: whoever writes a concept calls it.
    Function("words_of", "uuid, text, jsonb, text[]", (APP, AUTH), owner=OWNER, is_definer=False),
    Function(
        "search_concepts",
        "text[], text, text, boolean, boolean, timestamptz, uuid, integer",
        (APP,),
    ),
    # How often: each caller has a pace.
    Function("take_turn", "text, integer, interval", ()),
    Function("limit_attempts", "text[], integer[], interval[]", (APP, SIGNIN)),
    # Who: by the hash of a secret that only its holder has.
    Function("enter_by_session", "bytea, interval, text, integer[]", (APP,)),
    Function("enter_by_key", "bytea, text, integer[]", (APP,)),
    Function("open_session", "bytea, bytea, interval", (APP,)),
    Function("my_sessions", "bytea", (APP,)),
    Function("my_tenants", "bytea", (APP,)),
    Function("switch_session", "bytea, bytea, uuid", (APP,)),
    Function("end_session", "bytea", (APP,)),
    Function("end_sessions", "bytea", (APP,)),
    Function("invitation_of", "bytea", (APP,)),
    # What a member may do, with the hash of their own secret.
    Function("acting_member", "bytea, boolean", ()),
    Function("keep_an_admin", "", ()),
    Function("invite", "bytea, uuid, text, text, bytea, interval", (APP,)),
    Function("revoke_invitation", "bytea, uuid", (APP,)),
    Function("change_role", "bytea, uuid, text", (APP,)),
    Function("end_membership", "bytea, uuid", (APP,)),
    Function("create_api_key", "bytea, uuid, text, text, bytea, jsonb, timestamptz", (APP,)),
    Function("revoke_api_key", "bytea, uuid", (APP,)),
    # Passwords and verified tokens: for a role that does nothing else.
    Function("password_of", "text", (SIGNIN,)),
    Function("begin_session", "uuid, uuid, uuid, bytea, interval", (SIGNIN,)),
    Function("password_of_session", "bytea", (SIGNIN,)),
    Function("replace_password", "uuid, text, text, bytea", (SIGNIN,)),
    Function("register_invited", "bytea, uuid, text, text", (SIGNIN,)),
    Function("accept_invitation", "bytea, uuid, uuid", (SIGNIN,)),
    Function("enter_by_clerk", "text, text, uuid, bytea, timestamptz, text, integer[]", (SIGNIN,)),
    # The job queue: what a tenant asks for ...
    Function(
        "enqueue_jobs",
        "text, uuid[], text, text, jsonb, integer, integer, text, interval, uuid, boolean",
        (APP,),
    ),
    Function("payloads_of", "text, uuid[]", (APP,)),
    Function("wait_for_jobs", "uuid, uuid[]", (APP,)),
    Function("cancel_jobs", "uuid[]", (APP,)),
    Function("retry_jobs", "uuid[]", (APP,)),
    Function("jobs_at_work", "", (APP,)),
    # ... and what a worker does with the jobs of all.
    Function("heartbeat", "uuid", (WORKER,)),
    Function("lease_worker", "uuid", (WORKER,)),
    Function("lost_jobs", "uuid, uuid[], integer[]", (WORKER,)),
    Function("waiting_places", "text, uuid, integer", ()),
    Function("next_places", "text, uuid, integer", ()),
    Function("reserved_jobs", "uuid, uuid[]", ()),
    Function("allowed_jobs", "text, uuid, integer, integer, integer, interval", ()),
    Function("suspect_job", "text, integer", ()),
    Function(
        "claim_jobs", "uuid, text, integer, uuid, integer, integer, interval, boolean", (WORKER,)
    ),
    Function("owners_of", "text[]", ()),
    Function("begin_jobs", "uuid, text, uuid[], interval", (WORKER,)),
    Function(
        "finish_jobs", "uuid, uuid[], integer[], jsonb[], text[], double precision[]", (WORKER,)
    ),
    Function(
        "exchange_jobs",
        "uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid,"
        " integer, integer, interval, boolean, text[]",
        (WORKER,),
    ),
    Function("reserve_jobs", "uuid, text, integer, uuid, boolean, text[]", (WORKER,)),
    Function("release_jobs", "uuid, uuid[], integer[]", (WORKER,)),
    Function("stray_jobs", "uuid, text, uuid[]", (WORKER,)),
    Function("hand_over_jobs", "uuid, uuid[], integer[]", (WORKER,)),
    Function("handed_over_jobs", "interval, integer", (WORKER,)),
    Function("take_job", "uuid, uuid, integer", (WORKER,)),
    Function("settle_jobs", "uuid[]", ()),
    Function("reap_jobs", "uuid, interval", (WORKER,)),
    Function("promote_jobs", "", (WORKER,)),
    Function("report_progress", "uuid, uuid, integer, integer", (WORKER,)),
    Function("due_schedules", "", (WORKER,)),
    Function("fire_schedule", "uuid, timestamptz, timestamptz, uuid, integer", (WORKER,)),
    Function("first_id_at", "timestamptz", ()),
    Function("prune_jobs", "interval, interval, integer", (WORKER,)),
    Function("job_stats", "", (WORKER, SYSTEM)),
    Function("jobs_of_all", "text, text, uuid, integer", (SYSTEM,)),
    Function("prune_access", "", (WORKER,)),
    Function("make_partitions", "", (WORKER, MIGRATOR), owner=OWNER),
)
