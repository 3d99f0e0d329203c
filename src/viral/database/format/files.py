"""The schema's files: read, put into their form, and written where they differ."""

from __future__ import annotations

import ast
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ruff import find_ruff_bin  # type: ignore[import-untyped]  # ruff ships no types

from viral.database.format.order import order_classes
from viral.errors import BadFile, BadInput

SCHEMA = Path(__file__).parents[2] / "schema"


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that cannot be put into form, and where."""

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(slots=True)
class Outcome:
    """What was found: files in another form, files that nobody can read, and how many in all."""

    changed: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0


def checkout_of(schema: Path = SCHEMA) -> Path:
    """Return the root of the checkout that the schema's files belong to."""
    root = schema.parents[2]
    if not (root / "pyproject.toml").is_file():
        raise BadInput(
            f"The schema's files in {schema} are installed, not a checkout.",
            hint="Run it in a checkout of the repository.",
        )
    return root


def format_schema(root: Path, *, write: bool) -> Outcome:
    """Put every file of the schema into its form; without `write`, only say which are not."""
    schema = root / "src" / "viral" / "schema"
    outcome = Outcome()
    sources = _read(sorted([*schema.rglob("*.py"), *schema.rglob("*.sql")]), outcome)
    wanted = {path: text for path, text in sources.items() if path.suffix == ".py"}
    wanted = _laid_out(wanted, root)
    wanted = _laid_out({path: order_classes(text) for path, text in wanted.items()}, root)
    for path in sources:
        if path.suffix == ".sql":
            wanted[path] = format_sql(sources[path])
    for path, text in sorted(wanted.items()):
        if path.read_bytes() != text.encode():
            outcome.changed.append(path)
            if write:
                _write(path, text)
    return outcome


def format_sql(text: str) -> str:
    """Take away trailing blanks, tabs outside of quotes, and empty lines at both ends."""
    lines = [_untabbed(line).rstrip() for line in text.split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def _untabbed(line: str) -> str:
    if "'" not in line:
        return line.expandtabs(2)
    body = line.lstrip(" \t")
    return line[: len(line) - len(body)].expandtabs(2) + body


def _read(paths: list[Path], outcome: Outcome) -> dict[Path, str]:
    """Read the files with line feeds alone; one that cannot be read is a problem."""
    sources = {}
    for path in paths:
        outcome.count += 1
        try:
            text = path.read_text("utf-8-sig")
            if path.suffix == ".py":
                ast.parse(text)
        except SyntaxError as error:
            outcome.problems.append(Problem(path, error.lineno, error.msg))
        except UnicodeDecodeError:
            outcome.problems.append(Problem(path, None, "is not UTF-8"))
        except (OSError, ValueError) as error:
            outcome.problems.append(Problem(path, None, str(error)))
        else:
            sources[path] = text
    return sources


def _laid_out(sources: dict[Path, str], root: Path) -> dict[Path, str]:
    """Run the formatter over copies, all in one process."""
    config = str(root / "pyproject.toml")
    with tempfile.TemporaryDirectory(prefix="viral-format-") as folder:
        copies = {path: Path(folder) / path.relative_to(root) for path in sources}
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(sources[path], "utf-8", newline="\n")
        ended = subprocess.run(
            [find_ruff_bin(), "format", "--quiet", "--no-cache", "--config", config, folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise BadFile(f"The formatter refuses the files: {ended.stderr.strip()}.")
        return {path: copy.read_text("utf-8") for path, copy in copies.items()}


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it."""
    other = path.with_name(f".{path.name}.viral")
    other.write_text(text, "utf-8", newline="\n")
    other.chmod(path.stat().st_mode)
    other.replace(path)
