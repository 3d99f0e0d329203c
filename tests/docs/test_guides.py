"""The guides name commands, pages and pictures that exist, and become a site whole."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.core
import typer.main

from viral.cli.application import application

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
LARGEST_PICTURE = 60_000
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def options_of(line: str) -> set[str] | None:
    """Give the options of the command that a line begins with; None where there is none."""
    command: object = typer.main.get_command(application)
    for word in line.split():
        if not isinstance(command, typer.core.TyperGroup):
            break
        if word not in command.commands:
            return None
        command = command.commands[word]
    if not isinstance(command, typer.core.TyperCommand):
        return set() if isinstance(command, typer.core.TyperGroup) else None
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize("name", ["operating.md", "tour.md", "index.md", "data-layer.md"])
def test_every_command_of_a_guide_exists_with_its_options(name: str) -> None:
    page = (DOCS / name).read_text("utf-8")
    named = re.findall(r"(?:`|\$ )viral ([a-z][^`\n#]*)", page)

    wrong = [
        line
        for line in named
        if (known := options_of(line)) is None or set(re.findall(r"--[a-z-]+", line)) - known
    ]

    assert [] == wrong


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "index.md").read_text("utf-8")

    listed = re.findall(r"^- \[.+\]\(([\w-]+\.md)\)", index, re.MULTILINE)

    assert [name for name in PAGES if name != "index.md"] == sorted(listed)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_file(name: str) -> None:
    page = FENCED.sub("", (DOCS / name).read_text("utf-8"))

    targets = re.findall(r"\]\(((?!https?:)[^)#\s]+)", page)

    assert [] == [target for target in targets if not (DOCS / target).exists()]


def test_pictures_are_small_and_told_in_words() -> None:
    tour = (DOCS / "tour.md").read_text("utf-8")
    shown = dict(re.findall(r"!\[(.*)\]\((images/[\w-]+\.png)\)", tour))

    assert shown
    assert all(len(words) > len("a picture") for words in shown)
    assert {} == {
        path: size
        for path in shown.values()
        if (size := (DOCS / path).stat().st_size) > LARGEST_PICTURE
    }


def test_the_page_of_the_api_is_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "api_reference.py", "--check"],
        capture_output=True,
        check=False,
    )

    assert 0 == checked.returncode, checked.stderr


def test_the_page_of_the_api_has_every_route_and_field() -> None:
    description = json.loads((ROOT / "viral-schema" / "openapi.json").read_text("utf-8"))
    page = tool("api_reference").page(description)

    routes = {
        f"`{method.upper()} {path.removeprefix('/api/v1')}`"
        for path, operations in description["paths"].items()
        for method in operations
    }

    assert routes == set(re.findall(r"^\| (`[A-Z]+ [^`]+`)", page, re.MULTILINE))
    assert "`seed` integer or null, optional" in page


def test_pages_are_gathered_with_links_that_hold_there(tmp_path: Path) -> None:
    made, target = tool("docs_site"), tmp_path / "gathered"
    made.gather(ROOT, target)

    for page in target.glob("*.md"):
        text = FENCED.sub("", page.read_text("utf-8"))
        targets = re.findall(r"\]\(((?!https?:)[^)#\s]+)", text)
        assert [] == [each for each in targets if not (target / each).is_file()], page.name


def test_a_section_of_the_index_becomes_one_of_the_site() -> None:
    index = (
        "# Top\n\n[x](x.md)\n\n## One\n\n- [A](a.md): a\n- [B](../B-C.md): b\n\n## Two\n\nText\n"
    )

    found = tool("docs_site").with_contents(index)

    contents = "```{toctree}\n:hidden:\n:caption: One\n\nA <a>\nB <B-C>\n```\n\n"
    assert index.replace("## Two", f"{contents}## Two") == found
