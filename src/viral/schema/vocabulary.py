"""Words that mean the same everywhere: platforms, categories, plans, states."""

from __future__ import annotations

from typing import Literal, get_args

from viral.errors import BadInput

Platform = Literal["tiktok", "youtube", "instagram"]
Goal = Literal["engagement", "reach"]
Confidence = Literal["low", "medium", "high"]
Direction = Literal["over-predicted", "under-predicted", "accurate"]
Role = Literal["ADMIN", "MEMBER"]
Tier = Literal["FREE", "STARTER", "PRO", "AGENCY"]
# What an API key may: look, change, and what takes an admin.
Scope = Literal["read", "write", "admin"]
JobStatus = Literal["pending", "blocked", "running", "completed", "failed", "canceled"]

PLATFORM_NAMES: dict[str, str] = {
    "tiktok": "TikTok",
    "youtube": "YouTube",
    "instagram": "Instagram",
}
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
GOALS: tuple[Goal, ...] = get_args(Goal)
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL_SCOPES: frozenset[Scope] = frozenset(SCOPES)

CATEGORIES = (
    "absurd",
    "cartoon",
    "emotional",
    "finance",
    "fitness",
    "food",
    "gaming",
    "luxury",
    "music",
    "news",
    "relationships",
    "tech",
)

LONGEST_EMAIL = 320

# Concepts a month.
MONTHLY_QUOTA: dict[Tier, int] = {"FREE": 10, "STARTER": 10, "PRO": 50, "AGENCY": 500}


def platform_of(name: str) -> Platform:
    """Read a platform's name."""
    for platform in PLATFORMS:
        if platform == name.strip().lower():
            return platform
    raise BadInput(f"{name!r} is not a platform.", hint=f"Choose {', '.join(PLATFORMS)}.")


def category_of(name: str) -> str:
    """Read a category's name."""
    category = name.strip().lower()
    if category not in CATEGORIES:
        raise BadInput(f"{name!r} is not a category.", hint=f"Choose {', '.join(CATEGORIES)}.")
    return category


def tier_of(name: str) -> Tier:
    """Read a plan's name."""
    for tier in MONTHLY_QUOTA:
        if tier == name.strip().upper():
            return tier
    raise BadInput(f"{name!r} is not a plan.", hint=f"Choose {', '.join(MONTHLY_QUOTA)}.")


def role_of(name: str) -> Role:
    """Read a role's name."""
    for role in ROLES:
        if role == name.strip().upper():
            return role
    raise BadInput(f"{name!r} is not a role.", hint=f"Choose {' or '.join(ROLES)}.")


def email_of(text: str) -> str:
    """Read an e-mail address: in lower case, with something on both sides of one @."""
    email = text.strip().lower()
    name, _, host = email.partition("@")
    is_plain = email.isprintable() and not any(each in email for each in " <>,;\"'")
    if not (name and host and "@" not in host and is_plain and len(email) <= LONGEST_EMAIL):
        raise BadInput("That is no e-mail address.", hint="Write it as name@example.com.")
    return email
