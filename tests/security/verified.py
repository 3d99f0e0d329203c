"""The lines that `viral.features.verification` attacks: which of its attempts are whose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from viral.features.verification.report import Report
from viral.features.verification.run import FAMILIES
from viral.features.verification.verdicts import Attack, Family, Trial

Mine = Callable[[Trial], bool]


def _of(attack: str) -> Mine:
    return lambda trial: trial.attack.id == attack


def _with(attack: str, *statements: str) -> Mine:
    return lambda trial: trial.attack.id == attack and trial.target.statement.startswith(statements)


def _on(attack: str, name: str) -> Mine:
    return lambda trial: trial.attack.id == attack and trial.target.object == name


# What an injected statement can know of another tenant; what is like its token is A08's.
_INJECTED = ("the tenant's", "the hash of", "one quote", "all tenants")
_ALONE = (
    *("A01", "A02", "A03", "A06", "A09", "A11", "A12", "A13", "A14", "A15", "A16", "A17", "A18"),
    *("A19", "A20", "A21", "A22", "A23", "A24", "A25", "A26", "A28", "A29", "A30", "A31", "A32"),
    *("A33", "A34", "A35", "A36", "A37", "A40", "A41", "A42", "A44", "A45", "A46", "A47", "A48"),
    *("A49", "A50"),
)
VERIFIED: dict[str, Mine] = {line: _of(line) for line in _ALONE} | {
    "A04": _with("A04", "after a transaction", "after a setting"),
    "A05": _with("A04", "after an error"),
    "A07": _with("A08", *_INJECTED),
    "A08": _with("A08", "its token", "a random", "the stored"),
    "A27": _with("A29", "CREATE FUNCTION", "CREATE OPERATOR"),
    "A38": _on("A38", "large objects"),
    "A39": _on("A38", "advisory locks"),
    "A43": _with("A04", "after a cursor"),
}


def attempts(report: Report, line: str) -> list[Trial]:
    """Return the attempts of a line that had something to attack."""
    mine = VERIFIED[line]
    return [
        trial for trial in report.trials if mine(trial) and trial.verdict.result != "not applicable"
    ]


def failures(report: Report) -> set[tuple[str, str]]:
    """Return the lines of which an attempt came through, each with what it was tried on."""
    return {
        (line, trial.target.object)
        for line in VERIFIED
        for trial in attempts(report, line)
        if trial.verdict.result == "leaked"
    }


def only(lines: Iterable[str]) -> tuple[Family, ...]:
    """Return the families of attacks with no more than what these lines need."""
    ids = {_attack_of(line) for line in lines}
    kept = (
        replace(family, attacks=tuple(each for each in family.attacks if each.id in ids))
        for family in FAMILIES
    )
    return tuple(family for family in kept if family.attacks)


def _attack_of(line: str) -> str:
    elsewhere = {"A05": "A04", "A43": "A04", "A07": "A08", "A27": "A29", "A39": "A38"}
    return elsewhere.get(line, line)


def all_attacks() -> set[str]:
    """Return the ids of all attacks there are."""
    found: list[Attack] = [attack for family in FAMILIES for attack in family.attacks]
    return {attack.id for attack in found}
