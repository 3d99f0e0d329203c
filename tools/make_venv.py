"""Make the virtual environment; as root on Debian, install the package that it needs first."""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

MINIMUM = (3, 11)


def main(folder: str) -> None:
    """Create the environment in `folder` unless it is there."""
    if sys.version_info < MINIMUM:
        sys.exit("Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12")
    if (Path(folder) / "bin" / "python").exists():
        return
    if importlib.util.find_spec("ensurepip") is None:
        _install_ensurepip()
    venv.create(folder, with_pip=True)


def _install_ensurepip() -> None:
    package = f"python3.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"This Python cannot make environments. Install it: apt install {package}")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
