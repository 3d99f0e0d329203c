"""Whether the keys and passwords are private, whole, and young enough."""

from __future__ import annotations

import stat
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.database.encryption.keys import FILE_NAME as FIELD_KEYS
from viral.database.secrets import FILE_NAME
from viral.errors import BadSetting
from viral.postgres.doctor.check import Check, Finding, error, of_error, ok, warning

if TYPE_CHECKING:
    from pathlib import Path

    from viral.postgres.doctor.check import Patient

QUARTER_DAYS = 90
OTHERS = 0o077


async def look_at_settings(patient: Patient) -> list[Finding]:
    """See that the settings can be read, and that no variable is misspelt."""
    if patient.unknown_variables:
        return warning(
            "settings",
            f"Set, but not a setting: {', '.join(patient.unknown_variables)}.",
            "Correct the name or unset it; the names are in docs/reference.md.",
        )
    return ok("settings", "All can be read.")


async def look_at_files(patient: Patient) -> list[Finding]:
    """See that nobody else reads the folder and the files of keys."""
    assert patient.settings is not None
    home = patient.settings.home
    if not home.is_dir():
        return warning("files", f"{home} does not exist: nothing was started yet.", "viral up")
    found = _open_to_others(home)
    for name in (FILE_NAME, FIELD_KEYS, "installation.json", "branches.json"):
        if (home / name).exists():
            found += _open_to_others(home / name)
    if found:
        return found
    return ok("files", f"{home} and its keys are readable by their owner alone.")


def _open_to_others(path: Path) -> list[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & OTHERS:
        return []
    # A folder that others may look into shows names; a file of keys, the keys.
    is_secret = path.name in {FILE_NAME, FIELD_KEYS}
    wanted = "700" if path.is_dir() else "600"
    return (error if is_secret else warning)(
        "files",
        f"{path} has the mode {mode:04o}: other users of this machine may read it.",
        f"chmod {wanted} {path}",
    )


async def look_at_passwords(patient: Patient) -> list[Finding]:
    """Remind of passwords that are older than a quarter, or in the middle of a change."""
    assert patient.secrets is not None
    assert patient.settings is not None
    roles = patient.secrets.roles
    fix = "viral keys rotate --roles" + ("" if patient.embedded else " --admin-url URL")
    if roles.coming is not None:
        return warning("passwords", "A rotation of the roles' passwords is not finished.", fix)
    for name, url in (("DATABASE_URL", patient.app), ("DIRECT_URL", patient.direct)):
        known = roles.of(url.user) if url else ()
        if url is not None and url.password in known[1:]:
            return warning(
                "passwords",
                f"{name} holds a former password of {url.user}; the next change ends it.",
                f"Put the line of `viral db url --show{' --direct' if name[1] == 'I' else ''}`"
                " into .env.local.",
            )
    changed_at = roles.changed_at
    if changed_at is None:
        written = (patient.settings.home / FILE_NAME).stat().st_mtime
        changed_at = datetime.fromtimestamp(written, UTC)
    age = (patient.clock() - changed_at).days
    if age >= QUARTER_DAYS:
        return warning("passwords", f"The roles' passwords are {age} days old.", fix)
    return ok("passwords", f"Changed {age} days ago; due after {QUARTER_DAYS}.")


async def look_at_field_keys(patient: Patient) -> list[Finding]:
    """See that every value is under a key that is there, and the newest one in use."""
    assert patient.keys is not None
    assert patient.key_use is not None
    use = Counter[str]()
    for each, count in (await patient.key_use()).items():
        use[each.key_id] += count
    try:
        ring = patient.keys()
    except BadSetting as missing:
        if use:
            return [of_error("field_keys", missing)]
        return ok("field_keys", "There is none yet, and nothing to open: `viral up` makes one.")
    known = {key.id for key in ring.keys}
    if lost := sorted(use.keys() - known):
        return error(
            "field_keys",
            f"{sum(use[key] for key in lost):,} values are under keys that are not here:"
            f" {', '.join(lost)}.",
            f"Put back the {FIELD_KEYS} or VIRAL_FIELD_KEYS that had them.",
        )
    if former := sum(count for key, count in use.items() if key != ring.primary.id):
        return warning(
            "field_keys",
            f"{former:,} values are under a former key.",
            "viral keys rotate",
        )
    return ok("field_keys", f"{use.total():,} values, all under {ring.primary.id}.")


CHECKS = (
    Check("settings", look_at_settings, ("settings",)),
    Check("files", look_at_files, ("settings",)),
    Check("passwords", look_at_passwords, ("settings", "secrets")),
    Check("field_keys", look_at_field_keys, ("server", "secrets")),
)
