"""Scripts of migrations: their comment lines, and what they must not say."""

from __future__ import annotations

import pytest

from viral.database.scripts import Risk, Step, Waiver, parse_script, render_script
from viral.errors import BadScript

SCRIPT = """\
-- Take the prompt away.

-- step: note it
-- in sight: public.videos, concepts
-- lint: trigger: the table is empty until this evening
SELECT 1;
-- an ordinary comment

SELECT 2;

-- step: index it, outside a transaction
CREATE INDEX CONCURRENTLY ix ON videos (prompt);

-- step: drop it
-- at risk: prompts: here: SELECT count(*) FROM videos WHERE prompt IS NOT NULL
-- at risk: all rows: SELECT count(*) FROM videos
ALTER TABLE videos DROP COLUMN prompt;
"""
STEPS = [
    Step(
        "note it",
        "SELECT 1;\n-- an ordinary comment\n\nSELECT 2;",
        line=3,
        in_sight=("public.videos", "concepts"),
        waivers=(Waiver("trigger", "the table is empty until this evening", 5),),
    ),
    Step(
        "index it",
        "CREATE INDEX CONCURRENTLY ix ON videos (prompt);",
        line=11,
        is_transactional=False,
    ),
    Step(
        "drop it",
        "ALTER TABLE videos DROP COLUMN prompt;",
        line=14,
        risks=(
            Risk("prompts: here", "SELECT count(*) FROM videos WHERE prompt IS NOT NULL"),
            Risk("all rows", "SELECT count(*) FROM videos"),
        ),
    ),
]


def test_a_script_is_divided_into_steps() -> None:
    assert STEPS == parse_script(SCRIPT, name="up")


def test_a_script_that_is_written_reads_back() -> None:
    assert SCRIPT == render_script("Take the prompt away.", STEPS)


def test_a_script_without_steps_is_one_of_its_own_name() -> None:
    assert [Step("up", "-- lines\nSELECT 1;")] == parse_script("-- lines\nSELECT 1;\n", name="up")


def test_a_line_within_a_statement_may_look_like_a_directive() -> None:
    text = "SELECT ' -- step: none', $$\n  -- at risk: nothing\n$$;"

    assert [Step("up", text)] == parse_script(text, name="up")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n-- step: late\n", "up: there are statements before the first step."),
        ("-- step:\nSELECT 1;", "up, line 1: the step has no name."),
        ("-- step: a\n\n-- step: a\n", "up: two steps are called 'a'."),
        ("-- step: a\n-- step: a, outside a transaction\n", "up: two steps are called 'a'."),
        ("--\n-- at risk: rows", "up, line 2: write `-- at risk: what: SELECT count(*) ...`."),
        (
            "-- at risk: rows: DELETE FROM videos",
            "up, line 1: write `-- at risk: what: SELECT count(*) ...`.",
        ),
        ("-- step: a\n\n-- in sight:", "up, line 3: write `-- in sight: table, table`."),
        ("-- in sight: videos concepts", "up, line 1: write `-- in sight: table, table`."),
        ("-- lint: trigger", "up, line 1: write `-- lint: rule: reason`."),
        ("-- lint: Trigger: why not", "up, line 1: write `-- lint: rule: reason`."),
    ],
)
def test_a_directive_that_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadScript) as refusal:
        parse_script(text, name="up")

    assert message == refusal.value.message
