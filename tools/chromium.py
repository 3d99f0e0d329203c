"""See that the browser tests can run: install Debian's Chromium where allowed, else say so."""

import os
import shutil
import subprocess
import sys

PACKAGE = "chromium"


def main() -> None:
    """Install the browser as root on Debian; fail without it only where it is required."""
    if shutil.which(PACKAGE):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {PACKAGE} for the browser tests ...", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", PACKAGE]):
            subprocess.run(
                ["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False
            )
    if shutil.which(PACKAGE):
        return
    message = f"BROWSER TESTS ARE SKIPPED: Debian's package {PACKAGE} is not installed."
    if os.environ.get("VIRAL_REQUIRE_BROWSER"):
        sys.exit(message)
    print(f"\n{message} Install it: apt install {PACKAGE}\n", flush=True)


if __name__ == "__main__":
    main()
