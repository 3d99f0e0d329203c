"""Whether the roles may do what they should, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.postgres.doctor.check import Check, Finding, error, looking_into, ok, warning
from viral.schema.security import LOGINS, OWNERS

if TYPE_CHECKING:
    from viral.postgres.doctor.check import Patient

PREPARE = (
    "Run `viral server bootstrap --admin-url URL`; for the embedded server `viral server start`."
)
_APP = """
SELECT r.rolsuper AS is_super, r.rolbypassrls AS bypasses,
       coalesce((SELECT string_agg(o.rolname, ', ') FROM pg_roles AS o
                 WHERE o.rolname = ANY ($1::text[]) AND pg_has_role(r.oid, o.oid, 'MEMBER')), '')
         AS owns
FROM pg_roles AS r WHERE r.rolname = current_user
"""
_ROLES = """
SELECT rolname, rolsuper OR rolbypassrls AS passes, rolcanlogin AS logs_in,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
             WHERE m.member = r.oid AND g.rolname LIKE 'viral%' ORDER BY 1) AS of
FROM pg_roles AS r WHERE rolname = ANY ($1::text[])
"""
_STATEMENTS = """
SELECT current_setting('track_activities') = 'off'
       AND (current_setting('server_version_num')::integer >= 180000
            OR coalesce(current_setting('pg_stat_statements.track_utility', true), 'off') = 'off')
"""


async def look_at_app_role(patient: Patient) -> list[Finding]:
    """See that the app's role cannot pass row security."""
    assert patient.app is not None
    async with looking_into(patient.app) as connection:
        row = await connection.fetchrow(_APP, list(OWNERS))
    assert row is not None
    reasons = [
        *(["is a superuser"] if row["is_super"] else []),
        *(["has BYPASSRLS"] if row["bypasses"] else []),
        *([f"is a member of {row['owns']}"] if row["owns"] and not row["is_super"] else []),
    ]
    if reasons:
        return error(
            "app_role",
            f"{patient.app.user} {' and '.join(reasons)}: row security does not hold for it.",
            "Use the role viral_app in DATABASE_URL. If it is viral_app: ALTER ROLE viral_app"
            " NOSUPERUSER NOBYPASSRLS, and REVOKE viral_owner, viral_auth FROM viral_app.",
        )
    return ok("app_role", f"{patient.app.user} is under row security.")


async def look_at_roles(patient: Patient) -> list[Finding]:
    """See that the roles are as bootstrap makes them."""
    async with looking_into(patient.eye) as connection:
        rows = await connection.fetch(_ROLES, [*LOGINS, *OWNERS])
    known = {row["rolname"]: row for row in rows}
    problems = [f"there is no role {role}" for role in (*LOGINS, *OWNERS) if role not in known]
    for role, row in known.items():
        if row["passes"] and role != "viral_backup":
            problems.append(f"{role} passes row security")
        if row["logs_in"] != (role in LOGINS):
            problems.append(f"{role} {'may' if row['logs_in'] else 'cannot'} log in")
        expected = sorted(OWNERS) if role == "viral_migrator" else []
        if row["of"] != expected:
            problems.append(
                f"{role} is a member of {', '.join(row['of']) or 'nothing'}, not of"
                f" {', '.join(expected) or 'nothing'}"
            )
    if problems:
        return error("roles", f"{'; '.join(problems)}.", PREPARE)
    return ok("roles", f"{len(LOGINS)} roles log in, each with its own rights.")


async def look_at_statements(patient: Patient) -> list[Finding]:
    """Say how the tenant context travels: as a literal that nobody sees, or as a parameter."""
    assert patient.app is not None
    async with looking_into(patient.app) as connection:
        hides = await connection.fetchval(_STATEMENTS)
    if hides:
        return ok("statements", "Hidden: the tenant context is sent with BEGIN, as a literal.")
    return warning(
        "statements",
        "Statements of viral_app are visible to the administrator, so the tenant context is sent as"
        " a parameter (set_config): one more round trip.",
        "As a superuser: ALTER ROLE viral_app SET track_activities = off. Managed servers refuse;"
        " then leave it.",
    )


CHECKS = (
    Check("app_role", look_at_app_role, ("server",)),
    Check("roles", look_at_roles, ("server",)),
    Check("statements", look_at_statements, ("server",)),
)
