"""The entry of the command `viral`, also `python -m viral`."""

from __future__ import annotations

from viral.cli.application import run


def main() -> None:
    """Run one command and exit with its code."""
    run()


if __name__ == "__main__":
    main()
