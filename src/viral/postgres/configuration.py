"""What the server is told: its settings and who may connect from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS_FILE = "viral.conf"
INCLUDE = f"\n# Written by viral at each start:\ninclude '{SETTINGS_FILE}'\n"
FIRST_WITH_WAL_SUMMARIES = 17

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


def server_settings(*, port: int, socket_dir: Path, major: int) -> str:
    """Write the settings file; a value that PostgreSQL's defaults already give is left out."""
    settings = FIXED | {"port": str(port), "unix_socket_directories": _list_item(socket_dir)}
    if major >= FIRST_WITH_WAL_SUMMARIES:
        # To be on before the full backup that an incremental one builds on.
        settings["summarize_wal"] = "on"
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    return "# Written by viral at each start.\n" + "\n".join(lines) + "\n"


def _list_item(folder: Path) -> str:
    """Quote a folder whose name may hold a comma, which separates folders."""
    return '"' + str(folder).replace('"', '""') + '"'


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
