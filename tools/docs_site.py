"""Build the documentation as a site: tools/docs_site.py, into site/.

The pages are the files that a code host shows as well. They are gathered into one folder, with the
pages of the root beside those of docs/, and docs/index.md gives the order: its sections are those
of the site. A link that leads nowhere ends the build.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GATHERED = ROOT / "build" / "docs"
SITE = ROOT / "site"
ROOT_PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
FILES = ("LICENSE", "viral-schema/schema.svg")
SETTINGS = {
    "project": "Viral Dashboard",
    "html_title": "Viral Dashboard",
    "extensions": "myst_parser",
    "myst_heading_anchors": "3",
    "html_theme": "furo",
    "html_show_copyright": "0",
    "html_copy_source": "0",
    "html_static_path": "site.css",
    "html_css_files": "site.css",
}


def gather(source: Path, target: Path) -> None:
    """Copy the pages and what they show into one folder, with links that hold there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source / "docs", target)
    for name in FILES:
        shutil.copy(source / name, target)
    for name in ROOT_PAGES:
        shutil.copy(source / name, target)
    for page in target.glob("*.md"):
        page.write_text(_relinked(page.read_text("utf-8")), "utf-8")
    index = target / "index.md"
    index.write_text(with_contents(index.read_text("utf-8")), "utf-8")


def with_contents(index: str) -> str:
    """Add to each section of the index the list of its pages, as the site's navigation reads it."""
    head, *sections = re.split(r"^(?=## )", index, flags=re.MULTILINE)
    return "".join([head, *(section + _contents(section) for section in sections)])


def build() -> int:
    """Make the site; every warning is an error."""
    gather(ROOT, GATHERED)
    shutil.rmtree(SITE, ignore_errors=True)
    options = [f"-D{name}={value}" for name, value in SETTINGS.items()]
    command = [sys.executable, "-m", "sphinx", "-C", "-W", "--keep-going", "-q", *options]
    status = subprocess.run([*command, GATHERED, SITE], check=False).returncode
    print(
        f"{SITE.name}/index.html" if status == 0 else "The documentation has mistakes; see above."
    )
    return status


def _relinked(page: str) -> str:
    return re.sub(r"(\]\()(?:\.\./)?(?:docs/|viral-schema/)?(?=[\w./-]+[)#])", r"\1", page)


def _contents(section: str) -> str:
    links = re.findall(r"^- \[(.+)\]\((?:\.\./)?([\w-]+)\.md\)", section, re.MULTILINE)
    if not links:
        return ""
    pages = [f"{title} <{page}>" for title, page in links]
    caption = section.splitlines()[0].removeprefix("## ")
    return "\n".join(
        ["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", "", ""]
    )


if __name__ == "__main__":
    sys.exit(build())
