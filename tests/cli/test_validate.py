"""`viral validate` and `viral format` as people and programs use them, on a copied checkout."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from sqlalchemy import text

from viral.database.format.files import checkout_of


@dataclass(frozen=True)
class Checkout:
    """A copy of the product's source that a test may spoil."""

    root: Path
    environment: dict[str, str]

    def viral(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-m", "viral", *arguments],
            env={**self.environment, "PYTHONPATH": str(self.root / "src")},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in ended.stdout + ended.stderr
        return ended

    def schema(self, name: str) -> Path:
        return self.root / "src" / "viral" / "schema" / name

    def replace(self, name: str, word: str, instead: str) -> None:
        source = self.schema(name).read_text()
        assert word in source
        self.schema(name).write_text(source.replace(word, instead, 1))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns("__pycache__", "static")
    shutil.copytree(checkout_of() / "src", root / "src", ignore=unwanted)
    shutil.copy(checkout_of() / "pyproject.toml", root)
    return Checkout(root, {**os.environ, "VIRAL_HOME": str(tmp_path / "home")})


def line_of(path: Path, word: str) -> int:
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if word in line)


def test_the_models_keep_all_rules_and_no_database_is_asked(checkout: Checkout) -> None:
    answer = checkout.viral("validate")

    assert (0, "The models keep all rules.\n") == (answer.returncode, answer.stdout)
    assert not Path(checkout.environment["VIRAL_HOME"]).exists()


def test_a_broken_rule_is_shown_with_its_fix_and_exit_code_1(checkout: Checkout) -> None:
    checkout.replace("content.py", "        tenant_only(),\n        functions_too(),\n", "")

    answer = checkout.viral("validate")
    document = json.loads(checkout.viral("validate", "--json").stdout)

    assert 1 == answer.returncode
    assert "policy-missing  generations  does not say who may see its rows" in answer.stdout
    assert "Add tenant_only()" in answer.stdout
    assert {
        "rule": "policy-missing",
        "object": "generations",
        "message": "does not say who may see its rows",
    }.items() <= document["findings"][0].items()


@pytest.mark.parametrize(
    ("word", "instead", "said"),
    [
        ("    writer: Mapped[str]", "    writer: Mapped[str", "SyntaxError: '[' was never closed"),
        (
            "    writer: Mapped[str]",
            "    writer: Mapped[Path]",
            "MappedAnnotationError: Could not resolve",
        ),
        ("JsonObject,\n", "JsonObjekt,\n", "ImportError: cannot import name 'JsonObjekt'"),
        ("    writer: Mapped[str]", "    writer = maped_column()", "NameError"),
        ("    writer: Mapped[str]", "    writer: Mapped[str] = mapped_column(nul=1)", "TypeError"),
    ],
)
def test_a_mistake_in_the_python_of_the_models_is_one_line_with_its_place(
    checkout: Checkout, word: str, instead: str, said: str
) -> None:
    checkout.replace("content.py", word, instead)

    [finding] = json.loads(checkout.viral("validate", "--json").stdout)["findings"]

    assert "python" == finding["rule"]
    assert finding["object"].startswith("src/viral/schema/content.py:")
    assert said in finding["message"]


def test_a_relationship_that_leads_nowhere_is_placed_at_its_class(checkout: Checkout) -> None:
    checkout.replace("content.py", "Mapped[list[Concept]]", "Mapped[list[Koncept]]")
    line = line_of(checkout.schema("content.py"), "class Generation(")

    [finding] = json.loads(checkout.viral("validate", "--json").stdout)["findings"]

    assert f"src/viral/schema/content.py:{line}" == finding["object"]
    assert "Koncept" in finding["message"]


def test_a_reference_to_no_table_is_placed_at_its_class(checkout: Checkout) -> None:
    checkout.replace("content.py", '["generations.tenant_id", "gen', '["nowhere.tenant_id", "gen')
    line = line_of(checkout.schema("content.py"), "class Concept(")

    [finding] = json.loads(checkout.viral("validate", "--json").stdout)["findings"]

    assert f"src/viral/schema/content.py:{line}" == finding["object"]
    assert "nowhere" in finding["message"]


def test_a_file_that_nothing_loads_is_named(checkout: Checkout) -> None:
    checkout.schema("films.py").write_text('class Film:\n    __tablename__ = "films"\n')

    [finding] = json.loads(checkout.viral("validate", "--json").stdout)["findings"]

    assert ("module-left-out", "src/viral/schema/films.py") == (finding["rule"], finding["object"])


def test_format_names_what_it_rewrites_and_check_writes_nothing(checkout: Checkout) -> None:
    assert 0 == checkout.viral("format", "--check").returncode
    before = checkout.schema("content.py").read_text()
    checkout.replace("content.py", "    writer: Mapped[str]", "    writer : Mapped[str]")

    checked = checkout.viral("format", "--check")
    document = json.loads(checkout.viral("format", "--check", "--json").stdout)
    written = checkout.viral("format")
    again = checkout.viral("format", "--check")

    assert (1, 0, 0) == (checked.returncode, written.returncode, again.returncode)
    assert "not in form: src/viral/schema/content.py\n" in checked.stdout
    assert ["src/viral/schema/content.py"] == document["changed"]
    assert "rewritten: src/viral/schema/content.py\n" in written.stdout
    assert before == checkout.schema("content.py").read_text()


def test_format_names_the_line_of_a_mistake_and_goes_on(checkout: Checkout) -> None:
    checkout.replace("content.py", "    writer: Mapped[str]", "    writer: Mapped[str")
    checkout.replace("results.py", "    format: Mapped", "    format : Mapped")

    answer = checkout.viral("format")

    assert 1 == answer.returncode
    assert "cannot be read: src/viral/schema/content.py:" in answer.stderr
    assert "rewritten: src/viral/schema/results.py" in answer.stdout


def test_an_installed_package_is_refused_with_a_hint(checkout: Checkout) -> None:
    (checkout.root / "pyproject.toml").unlink()

    answer = checkout.viral("format")

    assert 1 == answer.returncode
    assert "Run it in a checkout of the repository." in answer.stderr


async def test_the_database_is_checked_as_well(
    cluster: Cluster, database_name: str, checkout: Checkout
) -> None:
    environment = {
        **checkout.environment,
        "VIRAL_HOME": str(cluster.home),
        "DATABASE_URL": cluster.server.url("viral_app", database_name),
        "DIRECT_URL": cluster.server.url("viral_migrator", database_name),
    }
    there = Checkout(checkout.root, environment)

    right = await asyncio.to_thread(there.viral, "validate", "--db")
    async with superuser(cluster, database_name) as connection:
        await connection.execute(text("ALTER TABLE videos NO FORCE ROW LEVEL SECURITY"))
        await connection.commit()
    wrong = await asyncio.to_thread(there.viral, "validate", "--db", "--json")

    assert (0, "The models and the database keep all rules.\n", "") == (
        right.returncode,
        right.stdout,
        right.stderr,
    )
    assert 1 == wrong.returncode
    assert [("row-security-off", "public.videos")] == [
        (each["rule"], each["object"]) for each in json.loads(wrong.stdout)["findings"]
    ]
