"""Videos, accounts and posts. Nothing that the former system had still to do starts here."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from viral.features.prisma_import.concepts import LONGEST_CATEGORY
from viral.features.prisma_import.fields import LARGEST_INTEGER, SourceRow, Unusable
from viral.features.prisma_import.ids import target_id
from viral.features.prisma_import.steps import NOT_IMPORTED, Entry, Known, KnownVideo, Step
from viral.schema.publishing import SocialAccount, SocialPost, Video

if TYPE_CHECKING:
    from uuid import UUID

DEAREST = 1_000_000  # numeric(10,4)
INTERRUPTED = "was under way when it was imported"


def _video(row: SourceRow, known: Known) -> list[Entry]:
    tenant_id = known.tenant_of(row)
    name = row.word("conceptId")
    concept = known.concepts.get((tenant_id, name))
    if concept is None:
        raise Unusable("conceptId", NOT_IMPORTED)
    platform, form = row.platform()
    status, error = _status(row, known, done="completed", under_way="generating")
    video_url = row.text_or_none("videoUrl")
    if status == "completed" and video_url is None:
        raise Unusable("videoUrl", "is empty, though the video is completed")
    video_id = target_id("videos", row.id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": video_id,
        "concept_id": concept.id,
        "category": row.word("category", longest=LONGEST_CATEGORY),
        "platform": platform,
        "format": form,
        "provider": row.word("provider"),
        "status": status,
        "error_message": error,
        "video_url": video_url,
        "cdn_url": row.text_or_none("cdnUrl"),
        "thumbnail_url": row.text_or_none("thumbnailUrl"),
        "metadata": row.document_or_none("metadata"),
        "generation_cost": _cost(row),
        "generated_at": row.time_or_none("generatedAt"),
        "created_at": row.time("createdAt"),
        "updated_at": row.time("updatedAt"),
    }
    known.videos[row.id] = KnownVideo(video_id, tenant_id, name)
    return [Entry(Video, row.id, values)]


def _status(row: SourceRow, known: Known, *, done: str, under_way: str) -> tuple[str, str | None]:
    """Read a state and its error; what was under way ended with the former system."""
    status = row.choice("status", (done, "failed", under_way))
    error = row.text_or_none("errorMessage")
    if status != under_way:
        return status, error
    known.report.mend(row.table, "status", f"{INTERRUPTED}: canceled")
    return "canceled", error or INTERRUPTED


def _cost(row: SourceRow) -> Decimal:
    cost = row.number("generationCost")
    if not 0 <= cost < DEAREST:
        raise Unusable("generationCost", f"is not between 0 and {DEAREST}")
    return Decimal(str(cost))


def _account(row: SourceRow, known: Known) -> list[Entry]:
    """Keep an account without its tokens: they are text, or under a key that is not ours."""
    tenant_id = known.tenant_of(row)
    platform, _ = row.platform()
    username = row.word("username")
    account_id = target_id("social_accounts", row.id)
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": account_id,
        "platform": platform,
        # The platform's own id is not known; nothing that a platform gives looks like this.
        "external_id": f"username:{username}",
        "username": username,
        "access_token": b"",
        "expires_at": row.time_or_none("expiresAt"),
        "token_status": "expired",
        "daily_limit": row.count("dailyLimit", most=LARGEST_INTEGER),
        "used_today": row.count("usedToday", most=LARGEST_INTEGER),
        "last_reset": row.time("lastReset"),
        "niche": row.text_or_none("niche"),
        "is_active": row.flag("isActive"),
        "metadata": row.document_or_none("metadata"),
        "created_at": row.time("createdAt"),
        "updated_at": row.time("updatedAt"),
    }
    known.take("username", tenant_id, platform, username, row_id=account_id)
    known.accounts[row.id] = (account_id, tenant_id)
    return [Entry(SocialAccount, row.id, values)]


def _post(row: SourceRow, known: Known) -> list[Entry]:
    account_id, tenant_id = _account_of(row, known)
    video = known.videos.get(row.text("videoId"))
    if video is None or video.tenant_id != tenant_id:
        raise Unusable("videoId", NOT_IMPORTED if video is None else "is another tenant's")
    platform, _ = row.platform()
    status, error = _status(row, known, done="posted", under_way="pending")
    post_id = target_id("social_posts", row.id)
    platform_post_id = row.word_or_none("platformPostId")
    posted_at = row.time_or_none("postedAt")
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "id": post_id,
        "video_id": video.id,
        "account_id": account_id,
        "platform": platform,
        "idempotency_key": f"import:{post_id}",
        "status": status,
        "error_message": error,
        "scheduled_for": row.time_or_none("scheduledFor"),
        "posted_at": posted_at,
        "post_url": row.text_or_none("postUrl"),
        "platform_post_id": platform_post_id,
        "created_at": row.time("createdAt"),
        "updated_at": row.time("updatedAt"),
    }
    if platform_post_id is not None:
        known.take("platformPostId", account_id, platform_post_id, row_id=post_id)
    if posted_at is not None:
        key = tenant_id, video.concept, platform
        known.posted[key] = min(posted_at, known.posted.get(key, posted_at))
    return [Entry(SocialPost, row.id, values)]


def _account_of(row: SourceRow, known: Known) -> tuple[UUID, UUID]:
    found = known.accounts.get(row.text("accountId"))
    if found is None:
        raise Unusable("accountId", NOT_IMPORTED)
    return found


STEPS = (
    Step("videos", _video, (Video,), '"tenantId", "createdAt", id'),
    Step("social_accounts", _account, (SocialAccount,), '"tenantId", "createdAt", id'),
    Step(
        "social_posts",
        _post,
        (SocialPost,),
        '"ownerId", "createdAt", id',
        'SELECT p.*, a."tenantId" AS "ownerId" FROM social_posts AS p'
        ' LEFT JOIN social_accounts AS a ON a.id = p."accountId"',
    ),
)
