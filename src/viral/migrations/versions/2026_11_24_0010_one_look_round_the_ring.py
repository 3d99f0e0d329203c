"""One look round the ring."""

from __future__ import annotations

from pathlib import Path

from viral.database.steps import run_script

revision = "0010"
down_revision = "0009"

_SCRIPTS = Path(__file__).with_suffix("")


def upgrade() -> None:
    run_script(_SCRIPTS / "up.sql")


def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
