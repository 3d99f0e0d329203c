"""The first schema: tables, policies, grants and functions, as the scripts beside it say."""

from __future__ import annotations

from pathlib import Path

from viral.database.migrate import run_script

revision = "0001"
down_revision = None

_PARTS = ("functions", "tenants", "content", "publishing", "results", "learning", "operations")
_SCRIPTS = Path(__file__).with_name("2026_11_22_0001_init")


def upgrade() -> None:
    for part in _PARTS:
        run_script(_SCRIPTS / f"{part}.sql")


def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
