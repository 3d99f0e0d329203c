"""Every error of the product: one tree, rendered alike by the command line, the API and the pages.

ViralError
├── BadInput                 the caller's data is wrong
│   ├── BadSetting           a setting or a URL cannot be used
│   ├── BadFile              a file cannot be read or has no usable rows
│   ├── BadTenantId          a tenant id is not a UUID
│   ├── BadScript            a migration's script cannot be read
│   ├── StatementFailed      PostgreSQL refused a statement of the caller
│   ├── NotConfirmed         something destructive was not confirmed by its name
│   ├── PasswordRefused      a password is too short, too long or too common
│   ├── SignatureRefused     a message does not carry the signature of its sender
│   └── AddressRefused       an address outside that may not be called
├── NotFound                 no such thing, or not yours
├── AlreadyExists            the name is taken
├── NotSignedIn              no session, or an ended one
│   └── SignInRefused        the e-mail and the password do not fit
├── NotAllowed               the role may not do this
├── LinkUsed                 a link is spent or too old
├── LastAdmin                a tenant keeps an admin
├── RateLimited              too many requests in too short a time
├── VendorError              a service outside does not do its part
│   ├── VendorUnreachable    no answer in time
│   └── VendorRefused        it refuses the call
├── QuotaExceeded            the plan's concepts for this month are used
├── NothingToWriteAbout      there is no trend for the category
├── ServerError              PostgreSQL is not usable
│   ├── ServerUnreachable    no answer at the address
│   ├── ServerRefused        wrong password, role, database or TLS
│   ├── ServerNotOurs        another server or installation is in the way
│   ├── PortInUse            a port is taken by another program
│   ├── BinariesMissing      no PostgreSQL programs on this machine
│   ├── PoolExhausted        every connection of the pool is in use
│   ├── PowerfulRole         the app's role could pass row security
│   └── BranchRefused        a branch may not be made, changed or deleted so
├── BackupError              no backup was made, or nothing was restored
│   ├── BackupBroken         what a backup holds is not what was stored
│   └── RestoreRefused       no backup reaches the moment, or something is in the way
├── SchemaError              the schema is not as the models say
│   ├── MigrationsPending    `viral migrate deploy` has work to do
│   ├── SchemaDrift          the database differs from the models
│   ├── HistoryBroken        the migration files are not those that were applied
│   ├── MigrationFailed      a migration stopped half-way
│   ├── LockNotObtained      another deploy, or somebody's transaction, holds a lock
│   ├── DataLossRefused      rows or values would be lost
│   ├── LintFailed           a migration breaks a rule and says no reason
│   ├── DraftIncomplete      a drafted migration does not lead to the models
│   └── ShadowRefused        no shadow database can be made here
└── IsolationError           the wall between tenants
    ├── TenantContextMissing VT001: no tenant was named; nothing was sent
    ├── TenantContextUnknown VT002: the context is not one of this installation
    ├── CommitLost           COMMIT was answered by something else
    ├── DecryptionFailed     a stored secret is not what was written at its place
    └── PlaintextRefused     an encrypted column was to be written past its row
"""

from __future__ import annotations

from math import ceil
from typing import ClassVar


class ViralError(Exception):
    """Something went wrong that the product knows by name."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


class BadInput(ViralError):
    """The caller's data is wrong."""

    code = "bad_input"
    status = 422


class BadSetting(BadInput):
    """A setting or a URL cannot be used."""

    code = "bad_setting"


class BadFile(BadInput):
    """A file cannot be read or has no usable rows."""

    code = "bad_file"


class BadTenantId(BadInput):
    """A tenant id is not a UUID."""

    code = "bad_tenant_id"


class BadScript(BadInput):
    """A migration's script cannot be read."""

    code = "bad_script"


class StatementFailed(BadInput):
    """PostgreSQL refused a statement of the caller."""

    code = "statement_failed"


class NotConfirmed(BadInput):
    """Something destructive was not confirmed by its name."""

    code = "not_confirmed"


class PasswordRefused(BadInput):
    """A password is too short, too long or too common."""

    code = "password_refused"


class SignatureRefused(BadInput):
    """A message does not carry the signature of its sender."""

    code = "signature_refused"
    status = 400


class AddressRefused(BadInput):
    """An address outside that may not be called."""

    code = "address_refused"


class NotFound(ViralError):
    """No such thing, or not yours."""

    code = "not_found"
    status = 404


class AlreadyExists(ViralError):
    """The name is taken."""

    code = "already_exists"
    status = 409


class NotSignedIn(ViralError):
    """No session, or an ended one."""

    code = "not_signed_in"
    status = 401
    hint = "Make a sign-in link with `viral sign-in`."


class SignInRefused(NotSignedIn):
    """The e-mail and the password do not fit."""

    code = "sign_in_refused"
    hint = "Try again, or ask for a sign-in link."


class NotAllowed(ViralError):
    """The role may not do this."""

    code = "not_allowed"
    status = 403


class LinkUsed(ViralError):
    """A link is spent or too old."""

    code = "link_used"
    status = 403
    hint = "Make another with `viral sign-in`."


class LastAdmin(ViralError):
    """A tenant keeps an admin."""

    code = "last_admin"
    status = 409
    hint = "Make somebody else an admin first."


class RateLimited(ViralError):
    """Too many requests in too short a time."""

    code = "rate_limited"
    status = 429

    def __init__(self, *, retry_after_s: float) -> None:
        self.retry_after_s = max(1, ceil(retry_after_s))
        super().__init__(
            "That was too often in too short a time.",
            hint=f"Wait {self.retry_after_s} s and try again.",
        )


class VendorError(ViralError):
    """A service outside does not do its part."""

    code = "vendor_error"
    status = 502


class VendorUnreachable(VendorError):
    """No answer in time."""

    code = "vendor_unreachable"


class VendorRefused(VendorError):
    """It refuses the call."""

    code = "vendor_refused"


class QuotaExceeded(ViralError):
    """The plan's concepts for this month are used."""

    code = "quota_exceeded"
    status = 402


class WorkFailed(ViralError):
    """A piece of slow work did not come to its end."""

    code = "work_failed"


class JobEnded(ViralError):
    """A job is not in a state in which this can be done to it."""

    code = "job_ended"
    status = 409


class NothingToWriteAbout(ViralError):
    """There is no trend for the category."""

    code = "nothing_to_write_about"
    status = 409
    hint = "Import some with `viral trends import FILE`."


class ServerError(ViralError):
    """PostgreSQL is not usable."""

    code = "server_error"
    status = 503


class ServerUnreachable(ServerError):
    """No answer at the address."""

    code = "server_unreachable"


class ServerRefused(ServerError):
    """Wrong password, role, database or TLS."""

    code = "server_refused"


class ServerNotOurs(ServerError):
    """Another server or installation is in the way."""

    code = "server_not_ours"


class PortInUse(ServerError):
    """A port is taken by another program."""

    code = "port_in_use"


class BinariesMissing(ServerError):
    """No PostgreSQL programs on this machine."""

    code = "binaries_missing"


class PoolExhausted(ServerError):
    """Every connection of the pool is in use."""

    code = "pool_exhausted"
    hint = "Raise connection_limit in DATABASE_URL, or put a pooler before the server."


class PowerfulRole(ServerError):
    """The app's role could pass row security."""

    code = "powerful_role"


class BranchRefused(ServerError):
    """A branch may not be made, changed or deleted so."""

    code = "branch_refused"
    status = 409


class BackupError(ViralError):
    """No backup was made, or nothing was restored."""

    code = "backup_error"


class BackupBroken(BackupError):
    """What a backup holds is not what was stored."""

    code = "backup_broken"
    hint = "Restore from another backup, and make a new one: `viral backup create --full`."


class RestoreRefused(BackupError):
    """No backup reaches the moment, or something is in the way."""

    code = "restore_refused"


class SchemaError(ViralError):
    """The schema is not as the models say."""

    code = "schema_error"
    status = 503


class MigrationsPending(SchemaError):
    """`viral migrate deploy` has work to do."""

    code = "migrations_pending"
    exit_code = 2
    hint = "Run `viral migrate deploy`."


class SchemaDrift(SchemaError):
    """The database differs from the models."""

    code = "schema_drift"
    exit_code = 3


class MigrationFailed(SchemaError):
    """A migration stopped half-way."""

    code = "migration_failed"
    exit_code = 4


class LockNotObtained(SchemaError):
    """Another deploy, or somebody's transaction, holds a lock."""

    code = "lock_not_obtained"
    exit_code = 5


class HistoryBroken(SchemaError):
    """The migration files are not those that were applied."""

    code = "history_broken"
    exit_code = 3


class DataLossRefused(SchemaError):
    """Rows or values would be lost."""

    code = "data_loss_refused"
    exit_code = 6
    hint = "Look at the counts, then run it again with --accept-data-loss."


class LintFailed(SchemaError):
    """A migration breaks a rule and says no reason."""

    code = "lint_failed"
    hint = "Change the statement, or add `-- lint: RULE: reason` above it."


class DraftIncomplete(SchemaError):
    """A drafted migration does not lead to the models."""

    code = "draft_incomplete"


class ShadowRefused(SchemaError):
    """No shadow database can be made here."""

    code = "shadow_refused"
    hint = "Run `viral server bootstrap` again: viral_migrator needs CREATEDB."


class IsolationError(ViralError):
    """The wall between tenants."""

    code = "isolation"
    status = 500


class TenantContextMissing(IsolationError):
    """VT001: no tenant was named; nothing was sent."""

    code = "VT001"


class TenantContextUnknown(IsolationError):
    """VT002: the context is not one of this installation."""

    code = "VT002"


class CommitLost(IsolationError):
    """COMMIT was answered by something else."""

    code = "commit_lost"


class DecryptionFailed(IsolationError):
    """A stored secret is not what was written at its place."""

    code = "decryption_failed"


class PlaintextRefused(IsolationError):
    """An encrypted column was to be written past its row."""

    code = "plaintext_refused"
