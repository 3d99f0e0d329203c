"""All our rules: what checks them, and what to do about each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.lint import (
    functions,
    keys,
    losses,
    objects,
    privileges,
    row_security,
    transactions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from viral.database.lint.revision import Breach, Revision
    from viral.database.lint.statements import Statement

    Check = Callable[[Statement, Revision], Iterator[Breach]]

CHECKS: tuple[Check, ...] = (
    row_security.check_created_table,
    row_security.check_row_security_off,
    row_security.check_dropped_policy,
    row_security.check_policy_roles,
    row_security.check_policy_condition,
    row_security.check_views,
    privileges.check_grant,
    privileges.check_default_privileges,
    privileges.check_owner,
    privileges.check_roles,
    functions.check_search_path,
    functions.check_execute,
    keys.check_keys,
    keys.check_references,
    keys.check_sequences,
    objects.check_kind,
    objects.check_triggers,
    objects.check_code_blocks,
    objects.check_if_not_exists,
    transactions.check_transaction_control,
    transactions.check_step,
    transactions.check_settings,
    transactions.check_validation,
    transactions.check_column_check,
    transactions.check_rewrite,
    transactions.check_locks,
    losses.check_loss,
    losses.check_risk_queries,
    losses.check_cascade,
    losses.check_sight,
)

HINTS: Mapping[str, str] = {
    "row-security-missing": "Enable and force row security and make a policy in this revision.",
    "row-security-off": "Leave it on; a step names the tables it works on: `-- in sight: videos`.",
    "policy-dropped": "Create its successor in the same step.",
    "policy-for-everybody": "Name the roles: TO viral_app, viral_readonly.",
    "policy-without-tenant": "Write USING and WITH CHECK (tenant_id = (SELECT viral.tenant_id())).",
    "view-of-owner": "Write WITH (security_invoker = true).",
    "materialized-view": "Use a view with security_invoker, or a table with a policy.",
    "grant-to-everybody": "Name the role.",
    "grant-all": "Name the privileges.",
    "grant-option": "Grant it to each role that needs it.",
    "grant-too-wide": "Grant on each table or function; schemas belong to the bootstrap.",
    "default-privileges": "Grant on each table in the revision that makes it.",
    "strange-owner": "Leave it to viral_owner or viral_auth.",
    "role-change": "Change the bootstrap instead.",
    "role-taken": "Write SET LOCAL ROLE viral_owner or viral_auth.",
    "definer-search-path": "Write SET search_path = '' and name everything with its schema.",
    "definer-for-everybody": "Add REVOKE ALL ON FUNCTION ... FROM PUBLIC to the step.",
    "key-without-tenant": "Begin the key with tenant_id.",
    "reference-without-tenant": "Refer by (tenant_id, x_id) to (tenant_id, id).",
    "reference-emptied": "Use ON DELETE CASCADE, or none and end the row instead.",
    "sequence": "Make the id in Python (UUID version 7).",
    "trigger": "Write it into the statement or the function that changes the row.",
    "code-block": "Write the statements out.",
    "if-not-exists": "Leave out IF NOT EXISTS.",
    "unknown-statement": "Use another statement, or say why this one is safe.",
    "transaction-control": "Divide the script with `-- step:` lines.",
    "one-statement-outside": "Give each statement a step of its own.",
    "needs-no-transaction": "Give it a step that ends in `, outside a transaction`.",
    "needs-own-step": "Give ALTER TYPE ... ADD VALUE a step of its own.",
    "session-setting": "Write SET LOCAL.",
    "row-security-setting": "Leave it; a step names the tables it works on: `-- in sight: videos`.",
    "timeout-lifted": "Set the time that the step needs, with SET LOCAL.",
    "validated-at-once": "Validate it in a later step.",
    "column-with-check": "Add the column, then the check NOT VALID; validate it in another step.",
    "table-rewritten": "Make another table and copy in batches.",
    "two-tables-locked": "Give each table a step of its own.",
    "loss-not-counted": "Add `-- at risk: what: SELECT count(*) FROM the table` to the step.",
    "risk-not-a-query": "Write `-- at risk: what: SELECT count(*) FROM ...`.",
    "drop-cascade": "Drop what depends on it by name first.",
    "rows-out-of-sight": "Add `-- in sight: the table`; many rows go in batches, in Python.",
    "unused-waiver": "Delete the line, or put it right above the statement it is for.",
    "waiver-without-reason": "Say in three words or more why the statement is safe.",
}
