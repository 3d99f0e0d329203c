"""Build the wheel and run its command from a fresh environment."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
# What a wheel without them would fail on only at run time.
DATA = (
    "viral/database/catalog_objects.sql",
    "viral/database/catalog_tables.sql",
    "viral/features/verification/relations.sql",
    "viral/features/verification/report.html",
    "viral/migrations/versions/2026_11_22_0001_init/tenants.sql",
    "viral/postgres/bootstrap.sql",
    "viral/schema/functions/tenant_id.sql",
    "viral/web/dashboard/static/viral.css",
    "viral/web/dashboard/templates/home.html",
)


def main() -> None:
    """Build, look into the wheel, install it with the locked dependencies, start its command."""
    uv = str(Path(sys.executable).with_name("uv"))
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--out-dir", str(DIST)], cwd=ROOT, check=True
    )
    (wheel,) = DIST.glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    missing = [name for name in DATA if name not in listing]
    if missing:
        sys.exit(f"{wheel.name} lacks {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/venv/bin/python"
        subprocess.run([uv, "venv", "--quiet", f"{folder}/venv"], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python]
        lock = str(ROOT / "requirements" / "run.lock")
        subprocess.run([*install, "--require-hashes", "-r", lock], check=True)
        subprocess.run([*install, "--no-deps", str(wheel)], check=True)
        subprocess.run([f"{folder}/venv/bin/viral", "--version"], cwd=folder, check=True)
    print(f"{wheel.relative_to(ROOT)}: its command runs from a fresh environment.")


if __name__ == "__main__":
    main()
