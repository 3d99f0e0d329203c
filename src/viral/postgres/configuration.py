"""What the server is told: its settings and who may connect from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS_FILE = "viral.conf"
INCLUDE = f"\n# Written by viral at each start:\ninclude '{SETTINGS_FILE}'\n"
FIRST_WITH_WAL_SUMMARIES = 17
# What a crash may lose of the archive: a segment in which nothing happens longer is ended.
ARCHIVE_TIMEOUT_S = 60
# Segments of 16 MB that may wait: beyond them the archive has a gap, and the app goes on.
MOST_WAITING = 64
GAP = "gap"

# The superuser has no way in over TCP. Every other role: from this machine, with its password.
ACCESS_RULES = """\
# Written by viral at each start.
local  all          all                         scram-sha-256
local  replication  viral_backup                scram-sha-256
host   all          viral_admin   all           reject
host   replication  viral_backup  127.0.0.1/32  scram-sha-256
host   all          all           127.0.0.1/32  scram-sha-256
"""

FIXED: dict[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0770",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "wal_level": "replica",
    # A change of it needs a restart; whether anything is kept, the archive command decides.
    "archive_mode": "on",
    "wal_keep_size": "64MB",
    # A replica that is gone fills no disk: beyond it, it has to be made again.
    "max_slot_wal_keep_size": "1GB",
    "timezone": "UTC",
    "lc_messages": "C",
    # The log holds events, never what people wrote: no statements, no parameters, no row values.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_timezone": "UTC",
}


def server_settings(*, port: int, socket_dir: Path, major: int, spool: Path | None) -> str:
    """Write the settings file; a value that PostgreSQL's defaults already give is left out.

    WAL is archived into `spool`; without one it is dropped, as in every copy of a server.
    """
    settings = FIXED | {"port": str(port), "unix_socket_directories": _list_item(socket_dir)}
    settings["archive_command"] = "true" if spool is None else archive_command(spool)
    if spool is not None:
        settings["archive_timeout"] = str(ARCHIVE_TIMEOUT_S)
    if major >= FIRST_WITH_WAL_SUMMARIES:
        # To be on before the full backup that an incremental one builds on.
        settings["summarize_wal"] = "on"
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    return "# Written by viral at each start.\n" + "\n".join(lines) + "\n"


def archive_command(spool: Path) -> str:
    """Write the shell command that puts a finished segment into the spool, whole or not at all.

    PostgreSQL runs it in the data folder, as often as it fails, and keeps the segment meanwhile.
    So that this never fills the app's disk, a segment is dropped when too many wait: in the spool,
    because nobody ships them, or in pg_wal, because the spool takes none. The file `gap` names the
    first one dropped, and its time is that of the last one.
    """
    folder = str(spool).replace("%", "%%")
    segments = f'"$d"/{"?" * 24}'
    mark = f'[ -s "$d/{GAP}" ] || echo "%f" > "$d/{GAP}"; touch "$d/{GAP}"'
    drop = f'{{ {mark}; rm -f "$d/.%f"; true; }}'
    return "; ".join(
        (
            f'd="{folder}"',
            f"full() {{ [ $# -ge {MOST_WAITING} ]; }}",
            # Archived before a crash, and not noted: the same again is no error.
            'if [ -f "$d/%f" ]',
            'then cmp -s "%p" "$d/%f"',
            f"elif full {segments}",
            f"then {drop}",
            'elif cp "%p" "$d/.%f" && sync "$d/.%f" && mv "$d/.%f" "$d/%f" && sync "$d"',
            "then :",
            "elif full pg_wal/archive_status/*.ready",
            f"then {drop}",
            'else rm -f "$d/.%f"',
            "false",
            "fi",
        )
    )


def _list_item(folder: Path) -> str:
    """Quote a folder whose name may hold a comma, which separates folders."""
    return '"' + str(folder).replace('"', '""') + '"'


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
