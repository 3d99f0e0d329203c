"""What the pages are given: plain data, no markup and no formatting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from viral.features.usage.requests import EndpointUse
from viral.schema.vocabulary import Confidence, Direction, Role

QUOTA_WARNING = 0.8
MOST_CONCEPTS_AT_ONCE = 10
_HALF_A_TENTH = 0.05


@dataclass(frozen=True, slots=True)
class Flash:
    """One sentence about the last action; it is shown once."""

    kind: Literal["success", "error", "info"]
    message: str
    code: str | None = None
    hint: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TenantOption:
    """A tenant that the person may open."""

    membership_id: str
    name: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What every page needs: `now` is in the person's own time zone and sets it for all dates."""

    now: datetime
    csrf_token: str
    tenant_name: str | None = None
    tenants: tuple[TenantOption, ...] = ()
    person: str | None = None
    is_admin: bool = False
    is_operator: bool = False
    is_demo: bool = False
    # Nothing is asked of Claude.
    is_offline: bool = False
    can_sign_out: bool = False
    branch: str | None = None
    flashes: tuple[Flash, ...] = ()
    banners: tuple[str, ...] = ()
    # Where it stands in the news of its tenant (web/live.py); None where nothing is told.
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A part of a page whose source outside the database did not answer; the rest stands."""

    message: str
    hint: str = ""
    code: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """Concepts of the plan's month."""

    used: int
    allowed: int
    renews_at: datetime

    @property
    def left(self) -> int:
        return max(0, self.allowed - self.used)

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.allowed) if self.allowed > 0 else 1.0

    @property
    def level(self) -> Literal["fine", "near", "spent"]:
        if self.left == 0:
            return "spent"
        return "near" if self.share >= QUOTA_WARNING else "fine"

    @property
    def most_at_once(self) -> int:
        return max(1, min(MOST_CONCEPTS_AT_ONCE, self.left))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean absolute error, in points, over the last `results` results, and the same unlearned."""

    with_learning: float
    without_learning: float
    results: int

    @property
    def change(self) -> float:
        return self.with_learning - self.without_learning


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a select."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class PlatformScore:
    """A concept's predicted score on one platform."""

    platform: str
    score: float


@dataclass(frozen=True, slots=True)
class Contribution:
    """One signed share of a score, in points."""

    label: str
    points: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a post of the concept reached."""

    actual: float
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class ConceptCard:
    """A concept with its prediction; `starting_point` plus contributions make the score."""

    id: str
    category: str
    title: str
    hook: str
    score: float
    low: float
    high: float
    starting_point: float
    contributions: tuple[Contribution, ...]
    platforms: tuple[PlatformScore, ...]
    duration_s: int
    hashtags: tuple[str, ...]
    post_at: datetime
    result: Result | None = None
    is_favorite: bool = False

    @property
    def why(self) -> tuple[Contribution, ...]:
        """Complete the contributions with what the 0 to 100 scale, or a short list, leaves out."""
        total = self.starting_point + sum(each.points for each in self.contributions)
        missing = self.score - total
        if abs(missing) < _HALF_A_TENTH:
            return self.contributions
        is_cut_off = not 0 <= total <= 100  # noqa: PLR2004 - the ends of the scale
        label = "The scale ends at 0 and 100" if is_cut_off else "Everything else"
        return (*self.contributions, Contribution(label, missing))

    @property
    def verdict(self) -> Literal["inside", "above", "below"] | None:
        if self.result is None:
            return None
        if self.low <= self.result.actual <= self.high:
            return "inside"
        return "above" if self.result.actual > self.high else "below"


@dataclass(frozen=True, slots=True)
class InsightRow:
    """A pattern seen in results."""

    id: str
    pattern: str
    evidence_count: int
    impact: Literal["positive", "negative", "neutral"]
    is_applied: bool
    last_seen_at: datetime
    recommendation: str = ""


@dataclass(frozen=True, slots=True)
class CritiqueRow:
    """What a critic made of a miss."""

    id: str
    made_at: datetime
    title: str
    platform: str
    predicted: float
    low: float
    high: float
    actual: float
    direction: Direction
    text: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class SignInPage:
    """The door: closed, open with a one-time token, or a spent link.

    `email` and `problem` are of an attempt with a password that failed.
    """

    state: Literal["signed_out", "ready", "spent"]
    token: str | None = None
    email: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """What an invitation offers: to sign up or in, to join as who one is, or nothing any more.

    `person` is who is signed in already; `problem` is of an attempt that failed.
    """

    state: Literal["open", "join", "spent"]
    token: str = ""
    tenant_name: str = ""
    email: str = ""
    role: Role = "MEMBER"
    person: str | None = None
    name: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What failed, what still works, what to do."""

    status: int
    title: str
    message: str
    still_works: str = ""
    hint: str = ""
    code: str | None = None
    request_id: str | None = None
    is_signed_in: bool = False


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A person of the tenant."""

    id: str
    email: str
    name: str
    role: Role
    joined_at: datetime
    last_login_at: datetime | None
    is_me: bool


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation that waits."""

    id: str
    email: str
    role: Role
    made_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A secret that was just made, and whose or what it is for."""

    value: str
    name: str


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Who is in the tenant, and who may come in."""

    members: tuple[MemberRow, ...]
    invitations: tuple[InvitationRow, ...]
    link_days: int
    link: ShownOnce | None = None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key, as far as it may be shown; `calls` are those of each of the last days."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    owner: str
    made_at: datetime
    last_used_at: datetime | None
    calls: tuple[int, ...]
    expires_at: datetime | None
    is_expired: bool
    may_revoke: bool


@dataclass(frozen=True, slots=True)
class KeysPage:
    """The tenant's API keys."""

    keys: tuple[KeyRow, ...]
    slowest: tuple[EndpointUse, ...]
    scopes: tuple[Choice, ...]
    lifetimes: tuple[Choice, ...]
    key: ShownOnce | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser in which the person is signed in."""

    tenant_name: str
    method: str
    opened_at: datetime
    last_seen_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True)
class AccountPage:
    """The person's own: password, and where they are signed in."""

    email: str
    role: Role
    sessions: tuple[SessionRow, ...]


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """An entry of the audit log."""

    made_at: datetime
    who: str
    action: str
    subject: str
    details: tuple[tuple[str, str], ...]
    address: str | None


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """A part of the audit log, newest first; `older_url` leads to the next one."""

    rows: tuple[ActivityRow, ...]
    actions: tuple[str, ...]
    action: str = ""
    is_first: bool = True
    older_url: str | None = None
