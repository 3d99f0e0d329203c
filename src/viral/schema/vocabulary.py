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

PLATFORM_NAMES: dict[str, str] = {
    "tiktok": "TikTok",
    "youtube": "YouTube",
    "instagram": "Instagram",
}
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
GOALS: tuple[Goal, ...] = get_args(Goal)
ROLES: tuple[Role, ...] = get_args(Role)

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
