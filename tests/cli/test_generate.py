"""`viral generate`: what is derived is written, checked, and followed on every save."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, time

import pytest

import viral

PACKAGE = Path(viral.__file__).parent
CHECKOUT = PACKAGE.parents[1]
FILES = {
    "schema.prisma",
    "schema.mmd",
    "schema.svg",
    "openapi.json",
    "database.ts",
    "api.ts",
}
COLUMN = "    region: Mapped[str | None]\n"
PATIENCE_S = 30


class Checkout:
    """A copy of the product's source, to be changed, whose commands need no database."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.generated = root / "viral-schema"
        self.tables = root / "src" / "viral" / "schema" / "content.py"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(root / "src"),
            "VIRAL_HOME": str(root / "home"),
            "DATABASE_URL": "postgresql://viral_app@127.0.0.1:1/nowhere",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "viral", "generate", *arguments]

    def generate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def save(self, after: str, *, at: int | None = None) -> None:
        """Put something in the place of a column of `trends`, as an editor saves."""
        source = (PACKAGE / "schema" / "content.py").read_text("utf-8")
        draft = self.tables.with_suffix(".draft")
        draft.write_text(source.replace(COLUMN, after, 1), "utf-8")
        if at is not None:
            os.utime(draft, (at, at))
        draft.replace(self.tables)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Make a copy of the source with everything written; its compiled files save seconds."""
    root = tmp_path_factory.mktemp("original")
    shutil.copytree(PACKAGE, root / "src" / "viral", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "pyproject.toml").touch()
    checkout = Checkout(root)
    checkout.generate()
    return checkout


@pytest.fixture
def checkout(original: Checkout, tmp_path: Path) -> Checkout:
    shutil.copytree(original.root, tmp_path, dirs_exist_ok=True)
    return Checkout(tmp_path)


class Watch:
    """What a watching command says, line by line, while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def until(self, end: str) -> list[str]:
        """Wait for a line; the lines up to it."""
        deadline = monotonic() + PATIENCE_S
        seen: list[str] = []
        while not (seen and seen[-1].startswith(end)):
            try:
                seen.append(self._lines.get(timeout=max(0.0, deadline - monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {end!r} after {seen}") from None
        return seen

    def end(self, number: signal.Signals) -> tuple[int, list[str]]:
        """Send a signal as a terminal does, to all; the exit code and the last words."""
        os.killpg(self.process.pid, number)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code, list(self._lines.queue)


@contextmanager
def watching(checkout: Checkout) -> Iterator[Watch]:
    with subprocess.Popen(
        checkout.command("--watch"),
        cwd=checkout.root,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Watch(process)
        finally:
            process.terminate()


def test_the_files_of_this_checkout_are_current() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "viral", "generate", "--check"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert 0 == answer.returncode, f"{answer.stdout}\nRun `viral generate` and commit the files."
    assert {path.name for path in (CHECKOUT / "viral-schema").iterdir()} >= FILES


def test_everything_is_written_without_a_database_or_an_installation(checkout: Checkout) -> None:
    shutil.rmtree(checkout.generated)

    answer = checkout.generate("--json")

    assert dict.fromkeys(FILES, "written") == json.loads(answer.stdout)["files"]
    assert {path.name for path in checkout.generated.iterdir()} == FILES
    assert json.loads((checkout.generated / "openapi.json").read_text())["paths"]
    assert not (checkout.root / "home").exists()


def test_what_is_current_is_left_alone(checkout: Checkout) -> None:
    times = {path: path.stat().st_mtime_ns for path in checkout.generated.iterdir()}

    answer = checkout.generate()

    assert {f"viral-schema/{name}: unchanged" for name in FILES} == set(answer.stdout.splitlines())
    assert times == {path: path.stat().st_mtime_ns for path in checkout.generated.iterdir()}


def test_a_check_names_what_is_stale_or_missing_and_writes_nothing(checkout: Checkout) -> None:
    (checkout.generated / "api.ts").write_text("mine")
    (checkout.generated / "schema.svg").unlink()

    answer = checkout.generate("--check")

    assert 1 == answer.returncode
    assert "viral-schema/api.ts: stale\n" in answer.stdout
    assert "viral-schema/schema.svg: missing\n" in answer.stdout
    assert "viral-schema/database.ts: current\n" in answer.stdout
    assert "mine" == (checkout.generated / "api.ts").read_text()
    assert not (checkout.generated / "schema.svg").exists()


def test_another_folder_can_be_named(checkout: Checkout) -> None:
    shutil.rmtree(checkout.generated)

    answer = checkout.generate("--out", "elsewhere/deep")

    assert 0 == answer.returncode
    assert FILES == {path.name for path in (checkout.root / "elsewhere" / "deep").iterdir()}
    assert not checkout.generated.exists()


def test_the_order_of_hashing_changes_nothing(checkout: Checkout) -> None:
    checkout.environment["PYTHONHASHSEED"] = "1"

    answer = checkout.generate("--check")

    assert 0 == answer.returncode


def test_the_public_address_of_an_installation_changes_nothing(checkout: Checkout) -> None:
    checkout.environment["VIRAL_PUBLIC_URL"] = "https://viral.example"

    answer = checkout.generate("--check")

    assert 0 == answer.returncode


def test_watching_and_checking_at_once_is_refused(checkout: Checkout) -> None:
    answer = checkout.generate("--watch", "--check")

    assert 1 == answer.returncode
    assert "Choose one of them." in answer.stderr


def test_a_folder_that_cannot_be_written_is_named(checkout: Checkout) -> None:
    (checkout.root / "file").touch()

    answer = checkout.generate("--out", "file/inside")

    assert 1 == answer.returncode
    assert "schema.prisma cannot be written: " in answer.stderr


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("    region: Mapped[str\n", "SyntaxError: '[' was never closed"),
        (
            "    region: Mapped[str | Nothing]\n",
            "MappedAnnotationError: Could not resolve all types",
        ),
        ("    region = missing\n", "NameError: name 'missing' is not defined"),
    ],
)
def test_a_mistake_in_the_schema_is_one_line_with_its_place(
    checkout: Checkout, after: str, said: str
) -> None:
    checkout.save(after)

    answer = checkout.generate()

    assert 1 == answer.returncode
    assert 1 == len(answer.stderr.splitlines())
    assert answer.stderr.startswith("error: src/viral/schema/content.py, line ")
    assert said in answer.stderr


def test_a_key_to_a_table_that_is_not_there_is_named(checkout: Checkout) -> None:
    source = checkout.tables.read_text("utf-8")
    checkout.tables.write_text(
        source.replace(
            '["concepts.tenant_id", "concepts.id"]', '["nothing.tenant_id", "nothing.id"]', 1
        )
    )

    answer = checkout.generate()

    assert 1 == answer.returncode
    assert "error: The tables do not fit together: " in answer.stderr
    assert "'nothing'" in answer.stderr


def test_a_save_is_followed_and_told_and_a_mistake_is_survived(checkout: Checkout) -> None:
    with watching(checkout) as watch:
        watch.until("viral-schema/api.ts")

        checkout.save(f"{COLUMN}    colour: Mapped[str | None]\n")
        added = watch.until("viral-schema/api.ts")
        checkout.save("    region: Mapped[str\n")
        broken = watch.until("error")
        checkout.save(COLUMN)
        mended = watch.until("viral-schema/api.ts")

    assert "saved src/viral/schema/content.py" in added
    assert 'column trends.colour added: text "may be null"' in added
    assert "viral-schema/database.ts: written" in added
    assert "viral-schema/api.ts: unchanged" in added
    assert broken[-1].startswith("error: src/viral/schema/content.py, line ")
    assert "column trends.colour removed" in mended
    assert "colour" not in (checkout.generated / "database.ts").read_text()


def test_two_saves_of_one_second_and_one_size_are_both_followed(checkout: Checkout) -> None:
    second = int(time()) - 60

    with watching(checkout) as watch:
        watch.until("viral-schema/api.ts")
        checkout.save(COLUMN.replace("str", "int"), at=second)
        first = watch.until("viral-schema/api.ts")
        checkout.save(COLUMN, at=second)
        then = watch.until("viral-schema/api.ts")

    assert any(line.startswith("column trends.region changed: text") for line in first)
    assert any(line.startswith("column trends.region changed: integer") for line in then)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_watching_after_what_is_being_written(
    checkout: Checkout, number: signal.Signals
) -> None:
    with watching(checkout) as watch:
        watch.until("viral-schema/api.ts")
        checkout.save(f"{COLUMN}    colour: Mapped[str | None]\n")
        watch.until("saved")

        code, last_words = watch.end(number)

    assert 0 == code
    assert "viral-schema/api.ts: unchanged" == last_words[-1]
    assert FILES == {path.name for path in checkout.generated.iterdir()}
    assert "colour: string | null;" in (checkout.generated / "database.ts").read_text()
