"""The report of a verification: counts by family, each attempt, what is known to remain."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from viral.features.verification.verdicts import Trial

FORMAT = 1

RESIDUALS = (
    (
        "Reachable with raw SQL alone, never by the API: row estimates in EXPLAIN, the size of a"
        " table as the planner keeps it, and that a channel of messages exists."
    ),
    (
        "A role can lock rows and tables that it may write, and can raise its own time limits: the"
        " limits hold against accidents."
    ),
    (
        "Whoever controls whole statements on a pooled connection of the app could leave a prepared"
        " statement behind. Text written by people never runs on such a connection."
    ),
    "Whoever reads the memory of the app, or its folder of keys, is inside.",
    (
        "The system role reads results of all tenants, to learn. What it publishes to all counts"
        " only once five tenants contributed."
    ),
)
NOT_TRIED = (
    "Studio, exports and files (B19, B22, B25).",
    "Answers that go on, as server-sent events do (B09).",
    "Handlers of jobs by themselves (B15): a job's session is opened for its own tenant.",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What was verified."""

    product: str
    postgresql: str
    revision: str
    catalogue_sha256: str
    objects: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many attempts ended how; `tried` leaves out what there was nothing to try on."""

    name: str
    tried: int
    held: int
    leaked: int
    not_applicable: int


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that came through: where, what, what it means, what to do."""

    attack: str
    title: str
    object: str
    statement: str
    roles: str
    detail: str
    meaning: str
    fix: str


@dataclass(frozen=True, slots=True)
class Report:
    """One verification, as it ended."""

    subject: Subject
    begun_at: datetime
    seconds: float
    attacker: str
    victim: str
    tables_seen: list[str]
    trials: list[Trial]

    @property
    def total(self) -> Counts:
        return _counts("all", self.trials)

    @property
    def families(self) -> list[Counts]:
        """Count by family, in the order in which they were tried."""
        return [
            _counts(name, list(trials))
            for name, trials in groupby(self.trials, lambda trial: trial.family)
        ]

    @property
    def leaks(self) -> list[Leak]:
        """List what came through, by object, with the roles that got it."""
        found: dict[tuple[str, ...], list[Trial]] = {}
        for trial in self.trials:
            if trial.verdict.result == "leaked":
                place = (trial.target.object, trial.target.statement)
                what = (trial.attack.id, trial.attack.title, trial.verdict.detail)
                found.setdefault((*place, *what), []).append(trial)
        return sorted(map(_leak, found.values()), key=lambda leak: leak.object)

    @property
    def leaks_by_object(self) -> dict[str, list[Leak]]:
        """Group what came through by the object that it came through."""
        return {name: list(leaks) for name, leaks in groupby(self.leaks, lambda leak: leak.object)}

    def as_json(self) -> dict[str, object]:
        """Say everything, for programs and for the signed file."""
        return {
            "format": FORMAT,
            "subject": asdict(self.subject),
            "begun_at": self.begun_at.astimezone(UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "attacker": self.attacker,
            "victim": self.victim,
            "tables_where_the_victim_sees_its_own_row": self.tables_seen,
            "total": asdict(self.total),
            "families": [asdict(each) for each in self.families],
            "leaks": [asdict(each) for each in self.leaks],
            "attempts": [_attempt(trial) for trial in self.trials],
            "residuals": list(RESIDUALS),
            "not_tried": list(NOT_TRIED),
        }

    def as_html(self, *, public_key: str, document_sha256: str) -> str:
        """Render the page that people read."""
        return _template().render(
            report=self,
            attacks=_by_attack(self.trials),
            residuals=RESIDUALS,
            not_tried=NOT_TRIED,
            public_key=public_key,
            document_sha256=document_sha256,
        )


@dataclass(frozen=True, slots=True)
class AttackSummary:
    """All attempts of one attack."""

    id: str
    title: str
    must_hold: str
    counts: Counts


def _by_attack(trials: list[Trial]) -> dict[str, list[AttackSummary]]:
    summaries: dict[str, list[AttackSummary]] = {}
    for (family, attack), group in groupby(trials, lambda each: (each.family, each.attack)):
        summaries.setdefault(family, []).append(
            AttackSummary(
                attack.id, attack.title, attack.must_hold, _counts(attack.title, list(group))
            )
        )
    return summaries


def _counts(name: str, trials: Iterable[Trial]) -> Counts:
    found = Counter(trial.verdict.result for trial in trials)
    return Counts(
        name,
        tried=found["held"] + found["leaked"],
        held=found["held"],
        leaked=found["leaked"],
        not_applicable=found["not applicable"],
    )


def _leak(trials: list[Trial]) -> Leak:
    first = trials[0]
    return Leak(
        attack=first.attack.id,
        title=first.attack.title,
        object=first.target.object,
        statement=first.target.statement,
        roles=", ".join(dict.fromkeys(trial.target.role for trial in trials)),
        detail=first.verdict.detail,
        meaning=first.attack.meaning,
        fix=first.attack.fix,
    )


def _attempt(trial: Trial) -> dict[str, str]:
    target = trial.target
    fields = {
        "attack": trial.attack.id,
        "title": trial.attack.title,
        "role": target.role,
        "object": target.object,
        "result": trial.verdict.result,
        "detail": trial.verdict.detail,
    }
    return fields | ({"statement": target.statement} if target.statement else {})


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(
        (files("viral.features.verification") / "report.html").read_text("utf-8")
    )
