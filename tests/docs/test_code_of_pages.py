"""The code of the README and of the developer's guide runs as it stands, top to bottom."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import select
from studio import add_trends, generate, trend

from viral.database.engine import Database
from viral.schema.content import Concept, ConceptVariant

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
async def two_studios(
    monkeypatch: pytest.MonkeyPatch,
    cluster: Cluster,
    database_name: str,
    app: Database,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    """Lead the code to the test's database; Alice has two concepts there, Bob one."""
    for name, role in (("DATABASE_URL", "viral_app"), ("DIRECT_URL", "viral_migrator")):
        monkeypatch.setenv(name, cluster.url(role, database_name).setting(password=True))
    monkeypatch.setenv("VIRAL_HOME", str(cluster.home))
    await add_trends(system, trend())
    await generate(app, alice.id, count=2)
    await generate(app, bob.id, count=1)


def code_of(page: str) -> tuple[str, list[str]]:
    """Give the first block of Python on a page, and the others."""
    first, *others = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return first, others


async def run(code: str, **scope: object) -> object:
    """Run code that may await, and give what it returns."""
    exec(f"async def run():\n{textwrap.indent(code, '    ')}", scope)
    return await scope["run"]()  # type: ignore[operator]  # made by the line above


async def test_the_readmes_code_reads_one_tenants_concepts(alice: TestTenant) -> None:
    code, others = code_of("README.md")

    concepts = await run(f"{code}return concepts", tenant_id=alice.id)

    assert [] == others
    assert isinstance(concepts, list)
    assert [alice.id, alice.id] == [concept.tenant_id for concept in concepts]


async def test_the_guides_code_reads_and_writes_one_tenants_rows(
    capsys: pytest.CaptureFixture[str], app: Database, alice: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        concept = (await session.scalars(select(Concept).order_by(Concept.id))).first()
    assert concept is not None
    opening, rest = code_of("docs/data-layer.md")
    body = textwrap.indent("\n".join(rest), "    ")
    code = f"{opening.replace('        ...  #', '        pass  #')}{body}\nreturn generations"

    generations = await run(code, tenant_id=alice.id, concept_id=concept.id)

    assert isinstance(generations, list)
    assert [alice.id] == [each.tenant_id for each in generations]
    assert concept.title in capsys.readouterr().out
    async with app.tenant_session(alice.id) as session:
        titles = select(ConceptVariant.title).order_by(ConceptVariant.label)
        assert ["Soup", "Soup, at once"] == list(await session.scalars(titles))
