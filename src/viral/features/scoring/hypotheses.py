"""Which hypotheses of a tenant hold for a video, as effects of the learner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.learner.families import HYPOTHESES, EffectKey
from viral.learner.predicates import Predicate, fires, parse_predicate
from viral.schema.learning import ReflexionInsight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.learner.video import Video


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A predicate, its effect, and the results that it is learnt from: after one, up to another."""

    key: EffectKey
    predicate: Predicate
    born_no: int
    ended_no: int | None

    def is_live_at(self, place: int) -> bool:
        """Tell whether the result of this place in the order is learnt with it."""
        return self.born_no < place and (self.ended_no is None or place <= self.ended_no)


# By tenant, in the order in which they were born: sums of floats depend on it.
Hypotheses = dict[str, list[Hypothesis]]


async def all_hypotheses(session: AsyncSession, platform: str) -> Hypotheses:
    """Load what was ever learnt with: all tenants' as the system role, else the session's."""
    return await _load(session, platform, statuses=None)


async def confirmed_hypotheses(session: AsyncSession, platform: str) -> Hypotheses:
    """Load what is served to the session's tenant."""
    return await _load(session, platform, statuses=("confirmed",))


def with_hypotheses(
    video: Video, hypotheses: Mapping[str, list[Hypothesis]], *, place: int | None = None
) -> Video:
    """Name the hypotheses that hold for a video; with a place, those that are live at it."""
    own = hypotheses.get(video.tenant)
    if own is None:
        return video
    keys = tuple(
        each.key
        for each in own
        if (place is None or each.is_live_at(place)) and fires(each.predicate, video)
    )
    return replace(video, hypotheses=keys) if keys else video


async def _load(
    session: AsyncSession, platform: str, *, statuses: Sequence[str] | None
) -> Hypotheses:
    query = select(
        ReflexionInsight.tenant_id,
        ReflexionInsight.born_no,
        ReflexionInsight.pattern_key,
        ReflexionInsight.confidence,
        ReflexionInsight.ended_no,
    ).where(ReflexionInsight.kind == "hypothesis", ReflexionInsight.platform == platform)
    if statuses is not None:
        query = query.where(ReflexionInsight.status.in_(statuses))
    found: Hypotheses = {}
    # Sorted here: servers do not agree on the order of texts.
    for tenant_id, born_no, text, confidence, ended_no in sorted(await session.execute(query)):
        found.setdefault(str(tenant_id), []).append(
            Hypothesis(
                (HYPOTHESES[confidence or "medium"], text),
                parse_predicate(text),
                born_no or 0,
                ended_no,
            )
        )
    return found
