"""Pages in all their states: well-formed, safe under a strict policy, and true to their numbers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from itertools import pairwise
from typing import Final

import jinja2
import pytest

from viral.features.scoring.labels import points
from viral.web.dashboard import rendering, views
from viral.web.dashboard.home import (
    ChangeLine,
    HomePage,
    InsightLine,
    JobRow,
    Learned,
    PostRow,
)

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'"
NOW: Final = datetime(2026, 11, 22, 14, 5, tzinfo=timezone(timedelta(hours=1)))
VOID: Final = {"meta", "link", "input", "img", "br", "hr"}
CONTRIBUTIONS: Final = (
    views.Contribution("Food on TikTok", 12.34),
    views.Contribution("Hook: list", -3.21),
    views.Contribution("Evening post", 0.04),
)
CONCEPT: Final = views.ConceptCard(
    id="c1",
    category="food",
    title="Lunch in four minutes",
    hook="What if lunch took less time than this video?",
    score=59.42,
    low=41,
    high=78,
    starting_point=50.25,
    contributions=CONTRIBUTIONS,
    platforms=(views.PlatformScore("tiktok", 61),),
    duration_s=65,
    hashtags=("mealprep", "#protein"),
    post_at=NOW + timedelta(days=1),
    result=views.Result(63, NOW),
)
LEARNED: Final = Learned(
    changes=7,
    adjustments=(ChangeLine("kept", "Food, reach", "tiktok", 0.0, -4.1),),
    insights=(InsightLine("i1", "questions hold viewers", "positive", 18, is_applied=True),),
)


def page(**changes: object) -> views.Page:
    made = views.Page(
        now=NOW, csrf_token="token-1", tenant_name="Nordlicht", person="ines", can_sign_out=True
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the names are checked at run time


def home(**changes: object) -> HomePage:
    made = HomePage(
        quota=views.Quota(41, 50, NOW + timedelta(days=9)),
        views=31_090,
        posts_read=24,
        results_learned=1204,
        results_pending=3,
        accuracy=views.Accuracy(8.2, 13.3, 20),
        errors=(12.0, 9.1, 8.2),
        posts=(PostRow("c1", "Lunch in four minutes", NOW, "tiktok", 61, is_past=True),),
        jobs=(JobRow("j1", "Writing concepts", "/generate?order=j1", "running", 40, NOW),),
        concepts=(CONCEPT,),
        learned=LEARNED,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the names are checked at run time


def empty_home() -> HomePage:
    return HomePage(
        quota=views.Quota(0, 50, NOW),
        views=0,
        posts_read=0,
        results_learned=0,
        results_pending=0,
        accuracy=None,
    )


def hostile_home() -> HomePage:
    return home(
        concepts=(
            replace(
                CONCEPT,
                title=HOSTILE,
                hook=HOSTILE,
                category=HOSTILE,
                hashtags=(HOSTILE,),
                contributions=(views.Contribution(HOSTILE, 1),),
            ),
        ),
        posts=(PostRow(HOSTILE, HOSTILE, NOW, HOSTILE, 61, is_past=False),),
        jobs=(JobRow(HOSTILE, HOSTILE, "/jobs", HOSTILE, 40, NOW),),
        learned=Learned(
            7,
            (ChangeLine(HOSTILE, HOSTILE, HOSTILE, 0, 1),),
            (InsightLine(HOSTILE, HOSTILE, HOSTILE, 1, is_applied=False),),
        ),
    )


def render_home(view: HomePage | None = None, *, around: views.Page | None = None) -> str:
    return rendering.render("home.html", page=around or page(), home=view or home())


def render_sign_in(view: views.SignInPage, *, around: views.Page | None = None) -> str:
    signed_out = page(tenant_name=None, person=None, can_sign_out=False)
    return rendering.render("sign_in.html", page=around or signed_out, sign_in=view)


def pages() -> dict[str, str]:
    flashes = (
        views.Flash("success", "5 concepts are ready."),
        views.Flash("error", HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    )
    return {
        "rich": render_home(),
        "demo": render_home(around=page(is_demo=True, flashes=flashes, banners=(HOSTILE,))),
        "empty": render_home(empty_home()),
        "removable": render_home(
            home(may_remove_demo=True, needs_studio=True), around=page(is_demo=True)
        ),
        "spent": render_home(home(quota=views.Quota(50, 50, NOW))),
        "hostile": render_home(hostile_home(), around=page(tenant_name=HOSTILE, person=HOSTILE)),
        "signed out": render_sign_in(views.SignInPage("signed_out")),
        "token": render_sign_in(views.SignInPage("ready", HOSTILE)),
        "link spent": render_sign_in(views.SignInPage("spent")),
        "error": rendering.render(
            "error.html",
            page=page(),
            error=views.ErrorPage(503, "No answer", HOSTILE, HOSTILE, HOSTILE, "e", HOSTILE),
        ),
    }


PAGES: Final = pages()


class Walker(HTMLParser):
    """Walks a page; fails on elements that cross or stay open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.forms: list[list[dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"{tag} repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag == "form":
            self.forms.append([])
        if tag == "input" and "form" in self.open:
            self.forms[-1].append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


every_page = pytest.mark.parametrize("name", PAGES)


@every_page
def test_a_page_is_well_formed_and_its_ids_are_unique(name: str) -> None:
    walked = Walker(PAGES[name])

    ids = [attrs["id"] for _, attrs in walked.elements if "id" in attrs]

    assert len(ids) == len(set(ids))


@every_page
def test_a_page_needs_nothing_that_a_strict_policy_forbids(name: str) -> None:
    for tag, attrs in Walker(PAGES[name]).elements:
        assert tag not in {"style", "img", "iframe", "object"}
        assert "style" not in attrs
        assert not [key for key in attrs if key.startswith("on")]
        if tag == "script":
            assert (attrs["src"] or "").startswith("/static/")
        for key in ("src", "href", "action"):
            assert re.match(r"[/#]|&?<img", attrs.get(key) or "/"), attrs


@every_page
def test_a_script_element_is_always_empty(name: str) -> None:
    assert PAGES[name].count("<script") == PAGES[name].count("></script>") in {2, 4}


@every_page
def test_every_form_posts_with_a_csrf_token(name: str) -> None:
    walked = Walker(PAGES[name])

    assert all(attrs["method"] == "post" for tag, attrs in walked.elements if tag == "form")
    for fields in walked.forms:
        tokens = [each["value"] for each in fields if each.get("name") == "_csrf_token"]
        assert tokens == ["token-1"]


@every_page
def test_a_page_has_landmarks_one_title_and_no_gap_in_its_headings(name: str) -> None:
    walked = Walker(PAGES[name])

    levels = [int(tag[1]) for tag, _ in walked.elements if re.fullmatch("h[1-6]", tag)]

    assert [tag for tag, _ in walked.elements].count("main") == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@every_page
def test_links_inside_a_page_lead_somewhere(name: str) -> None:
    elements = Walker(PAGES[name]).elements

    ids = {attrs["id"] for _, attrs in elements if "id" in attrs}
    anchors = [attrs["href"] or "" for tag, attrs in elements if tag == "a"]

    assert {each[1:] for each in anchors if each.startswith("#")} <= ids


@every_page
def test_named_helpers_of_form_fields_exist(name: str) -> None:
    elements = Walker(PAGES[name]).elements

    ids = {attrs["id"] for _, attrs in elements if "id" in attrs}
    wanted = {
        attrs[key]
        for _, attrs in elements
        for key in ("for", "aria-describedby", "aria-labelledby")
        if key in attrs
    }

    assert wanted <= ids


def test_why_rows_add_up_to_the_score() -> None:
    rows, start = rendering.why_rows(CONCEPT.starting_point, CONCEPT.why, CONCEPT.score)

    assert round(start + sum(value for *_, value in rows), 6) == 59.4
    assert [label for label, *_ in rows] == [each.label for each in CONTRIBUTIONS]


@pytest.mark.parametrize(
    ("score", "label"),
    [(70.0, "Everything else"), (100.0, "The scale ends at 0 and 100")],
)
def test_what_a_list_of_reasons_leaves_out_gets_a_row(score: float, label: str) -> None:
    points = 90.0 if score == 100 else 1.0
    concept = replace(CONCEPT, score=score, contributions=(views.Contribution("a", points),))

    assert concept.why[-1].label == label
    assert concept.starting_point + sum(each.points for each in concept.why) == score


def test_the_page_shows_points_that_add_up_to_the_shown_score() -> None:
    table = PAGES["rich"].split('<details class="why">')[1].split("</details>")[0]
    shown = re.findall(r'class="num">([^<]+)<', table)
    *parts, total = [float(each.replace("\N{MINUS SIGN}", "-")) for each in shown]

    assert round(sum(parts), 6) == total == 59.4


def test_a_card_leads_to_what_its_reasons_rest_on() -> None:
    assert 'href="/concepts/c1#why"' in PAGES["rich"]


def test_what_was_learned_leads_to_where_it_is_undone() -> None:
    assert 'href="/reflexion?change=kept#adjustment-kept"' in PAGES["rich"]
    assert "7 changes of scores, the largest" in PAGES["rich"]


@pytest.mark.parametrize(
    ("actual", "words"),
    [(63, "inside the interval"), (79, "above the interval"), (12, "below the interval")],
)
def test_a_result_is_placed_against_its_interval(actual: float, words: str) -> None:
    text = render_home(home(concepts=(replace(CONCEPT, result=views.Result(actual, NOW)),)))

    assert f"actual {actual}</strong>, {words}" in text
    assert "likely 41–78" in text  # noqa: RUF001 - a range is typeset with a dash


@pytest.mark.parametrize(
    ("used", "level", "most"),
    [(39, "fine", 10), (40, "near", 10), (47, "near", 3), (50, "spent", 1)],
)
def test_quota_warns_from_four_fifths(used: int, level: str, most: int) -> None:
    quota = views.Quota(used, 50, NOW)

    assert (quota.level, quota.most_at_once) == (level, most)
    assert f"meter-{level}" in render_home(home(quota=quota))


def test_a_plan_without_concepts_is_spent() -> None:
    assert views.Quota(0, 0, NOW).level == "spent"


@pytest.mark.parametrize(
    ("learned", "words"),
    [(1, "4 more results needed"), (4, "1 more result needed"), (9, "More results with a")],
)
def test_too_few_results_say_how_many_more(learned: int, words: str) -> None:
    assert words in render_home(home(results_learned=learned, accuracy=None))


@pytest.mark.parametrize(
    ("changes", "next_one"),
    [
        ({"concepts": (), "results_pending": 0}, "/generate"),
        ({"results_pending": 0}, "/performance"),
        ({"results_pending": 2}, "/reflexion"),
    ],
)
def test_a_newcomer_is_told_the_next_step(changes: dict[str, object], next_one: str) -> None:
    steps = home(results_learned=0, **changes).steps
    text = render_home(home(results_learned=0, **changes))

    assert [each.url for each in steps if each.state == "next"] == [next_one]
    assert f'<a class="button primary" href="{next_one}">' in text
    assert text.count('class="button primary"') == 1


def test_the_first_steps_end_with_the_first_thing_learned() -> None:
    assert home(results_learned=1).steps == ()
    assert "First steps" not in PAGES["rich"]


@pytest.mark.parametrize(
    ("with_learning", "words"),
    [
        (8.2, "5.1 lower than without learning"),
        (14.0, "0.7 higher than without learning"),
        (13.3, "the same as without learning"),
    ],
)
def test_the_change_in_error_is_said_in_words(with_learning: float, words: str) -> None:
    assert words in render_home(home(accuracy=views.Accuracy(with_learning, 13.3, 20)))


def test_sample_data_is_said_only_where_it_is_sample_data() -> None:
    assert "Sample data" in PAGES["demo"]
    assert "Sample data" not in PAGES["rich"]
    assert "/demo/remove" in PAGES["removable"]
    assert "/demo/remove" not in PAGES["demo"]


def test_a_password_or_a_link_with_a_token_opens_the_studio() -> None:
    assert [len(Walker(PAGES[name]).forms) for name in ("signed out", "token", "link spent")] == [
        1,
        1,
        0,
    ]


def test_the_error_page_says_what_still_works_and_the_request() -> None:
    view = views.ErrorPage(500, "Failed", "Why.", "Your data is safe.", "Reload.", "error", "r-9")

    text = rendering.render("error.html", page=page(), error=view)

    assert all(words in text for words in ("Why.", "Your data is safe.", "Reload.", "r-9"))


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendering.render("sign_in.html", page=page())


def test_an_assets_address_carries_its_content() -> None:
    content = (rendering.STATIC_FOLDER / "viral.css").read_bytes()

    digest = hashlib.sha256(content).hexdigest()[:12]

    assert rendering.asset("viral.css") == f"/static/viral.css?v={digest}"


@pytest.mark.parametrize(
    ("value", "text"), [(1204, "1,204"), (-3.0, "\N{MINUS SIGN}3"), (-0.2, "0"), (99.5, "100")]
)
def test_numbers_are_typeset(value: float, text: str) -> None:
    assert rendering.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.14, "+3.1"), (-2.35, "\N{MINUS SIGN}2.4"), (0.04, "0.0"), (-0.04, "0.0"), (10.0, "+10.0")],
)
def test_points_carry_their_sign(value: float, text: str) -> None:
    assert points(value) == text


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0, "today"),
        (-1, "yesterday"),
        (1, "tomorrow"),
        (2, "Tue 24 Nov"),
        (-330, "27 Dec 2025"),
    ],
)
def test_days_are_said_as_people_say_them(days: int, text: str) -> None:
    assert rendering.day(NOW + timedelta(days=days), NOW) == text


def test_a_time_is_told_in_the_persons_own_zone() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)

    assert rendering.when(late, NOW) == "tomorrow 00:30"


@pytest.mark.parametrize(
    ("seconds", "text"), [(32, "32 s"), (60, "1 min"), (95, "1 min 35 s"), (0, "0 s")]
)
def test_lengths_are_short(seconds: int, text: str) -> None:
    assert rendering.duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    assert [rendering.count(n, "result") for n in (0, 1, 1204)] == [
        "0 results",
        "1 result",
        "1,204 results",
    ]
    assert rendering.count(2, "person", "people") == "2 people"


@pytest.mark.parametrize(
    ("message", "markup"),
    [
        ("Run `viral up`, then `a<b`.", "Run <code>viral up</code>, then <code>a&lt;b</code>."),
        ("<b> and no command", "&lt;b&gt; and no command"),
        ("a lone ` tick", "a lone ` tick"),
    ],
)
def test_commands_in_messages_are_set_as_code(message: str, markup: str) -> None:
    assert str(rendering.commands(message)) == markup


def test_platforms_are_written_as_their_owners_do() -> None:
    names = [rendering.platform_name(each) for each in ("tiktok", "youtube", "vimeo")]

    assert names == ["TikTok", "YouTube", "Vimeo"]


def test_no_two_parts_of_the_style_sheet_describe_the_same_class() -> None:
    sheet = (rendering.STATIC_FOLDER / "viral.css").read_text("utf-8")

    described = Counter(re.findall(r"(?m)^(\.[a-z][\w-]*) \{", sheet))

    assert [] == [name for name, times in described.items() if times > 1]
