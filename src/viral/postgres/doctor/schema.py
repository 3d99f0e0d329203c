"""Whether the schema is what the files say, and every table under row security."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database import migrate
from viral.database.context_keys import context_use
from viral.database.validate.live import validate_database
from viral.postgres.doctor.check import Check, Finding, error, looking_into, ok, warning

if TYPE_CHECKING:
    from viral.postgres.doctor.check import Patient

SILENCE_S = 60
_WORKERS = """
SELECT count(*) AS workers, extract(epoch FROM now() - max(heartbeat_at))::float8 AS silent_s,
       (SELECT count(*) FROM public.job_queue
        WHERE status = 'pending' AND scheduled_for < now()) AS waiting
FROM public.job_workers
"""


async def look_at_migrations(patient: Patient) -> list[Finding]:
    """Compare what was applied with the files; objects are compared by `viral migrate status`."""
    assert patient.migrator is not None
    status = await migrate.status(patient.migrator)
    if status.half_done is not None:
        return error("migrations", f"One is half done: {status.half_done}", "viral migrate deploy")
    if status.broken:
        return error(
            "migrations",
            f"The files are not those that were applied: {'; '.join(status.broken)}",
            "viral migrate status",
        )
    if status.pending:
        return error("migrations", f"Pending: {', '.join(status.pending)}.", "viral migrate deploy")
    return ok(
        "migrations",
        f"All {len(status.applied)} are applied. Changes by hand: `viral migrate status`.",
    )


async def look_at_row_security(patient: Patient) -> list[Finding]:
    """Run the rules of `viral validate --db`."""
    assert patient.migrator is not None
    findings = await validate_database(patient.migrator)
    if findings:
        first = findings[0]
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        return error(
            "row_security",
            f"{first.object}: {first.message} ({first.rule}){more}.",
            "viral validate --db",
        )
    return ok("row_security", "Every table keeps the rules.")


async def look_at_context_keys(patient: Patient) -> list[Finding]:
    """See whether a change of the context key is finished, and former tokens have ended."""
    assert patient.migrator is not None
    assert patient.secrets is not None
    keys = patient.secrets.context
    if keys.coming is not None:
        return warning("context_keys", "A rotation is not finished.", "viral keys rotate --context")
    use = await context_use(patient.migrator)
    if lacking := use.tenants - use.by_key[keys.current.id]:
        return error(
            "context_keys",
            f"{lacking:,} tenants have no token of the key in force: nobody gets in there.",
            "Put the secrets.json of this database back, or: viral keys retire --context",
        )
    if keys.former is not None:
        return warning(
            "context_keys",
            f"Tokens of the former key {keys.former.id} are valid too.",
            "viral keys retire --context",
        )
    return ok("context_keys", f"Key {keys.current.id} for all {use.tenants:,} tenants.")


async def look_at_worker(patient: Patient) -> list[Finding]:
    """See whether a worker is at work, and what waits for one."""
    async with looking_into(patient.eye) as connection, connection.transaction(readonly=True):
        if patient.embedded is None:
            # Its rows are seen by the functions alone.
            await connection.execute("SET LOCAL ROLE viral_auth")
        row = await connection.fetchrow(_WORKERS)
    assert row is not None
    silent_s, waiting = row["silent_s"], row["waiting"]
    if silent_s is not None and silent_s < SILENCE_S:
        return ok("worker", f"{row['workers']} at work; {waiting:,} jobs wait.")
    heard = "none was ever heard of" if silent_s is None else f"silent for {silent_s:,.0f} s"
    return warning("worker", f"No worker is at work ({heard}); {waiting:,} jobs wait.", "viral up")


CHECKS = (
    Check("migrations", look_at_migrations, ("server",)),
    Check("row_security", look_at_row_security, ("server",)),
    Check("context_keys", look_at_context_keys, ("server", "secrets")),
    Check("worker", look_at_worker, ("server",)),
)
