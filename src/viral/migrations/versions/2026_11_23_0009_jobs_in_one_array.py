"""Jobs in one array."""

from __future__ import annotations

from pathlib import Path

from viral.database.steps import run_script

revision = "0009"
down_revision = "0008"

_SCRIPTS = Path(__file__).with_suffix("")


def upgrade() -> None:
    run_script(_SCRIPTS / "up.sql")


def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
