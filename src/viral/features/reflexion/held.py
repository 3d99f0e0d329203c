"""A platform's learnt state while results are taken in: loaded once, kept, written at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.scoring.effects import (
    SCORE,
    load_learners,
    load_score_width,
    needed_keys,
    new_learners,
    save_learners,
    save_shared,
)
from viral.learner.design import design_of
from viral.learner.families import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.learner.effects import Effect
    from viral.learner.families import EffectKey
    from viral.learner.video import Video

# Changed rows in memory, some 400 bytes each, before they are written and forgotten.
MOST_ROWS = 250_000


class HeldState:
    """Learners of both goals and the width of the default score's interval.

    Neighbouring batches touch the same effects: each is read once and written once.
    """

    def __init__(
        self, session: AsyncSession, platform: str, width: Effect, hashed: Callable[[str], str]
    ) -> None:
        """Start with nothing but the width."""
        self._session, self.platform, self._hashed = session, platform, hashed
        self._keys: set[EffectKey] = set()
        self.learners = new_learners(hashed)
        self.width = width

    @classmethod
    async def begin(
        cls, session: AsyncSession, platform: str, hashed: Callable[[str], str]
    ) -> Self:
        """Load what every result needs, as the system role, under the platform's lock."""
        return cls(session, platform, await load_score_width(session, platform), hashed)

    async def load(self, videos: Iterable[Video]) -> None:
        """Load the rows of these videos' effects that are not here yet."""
        missing = needed_keys(videos, self._hashed) - self._keys
        await load_learners(
            self._session, self.platform, keys=missing, hashed=self._hashed, into=self.learners
        )
        self._keys |= missing

    async def save(self) -> None:
        """Write the rows that changed, if any did, and forget all that was loaded."""
        if not self._keys:
            return
        await save_learners(self._session, self.platform, self.learners)
        await save_shared(self._session, self.platform, SCORE, {WIDTH: self.width})
        # Megabytes that nobody asks for until the next run.
        design_of.cache_clear()
        self._keys.clear()
        self.learners = new_learners(self._hashed)

    async def relieve(self) -> None:
        """Write what changed if it has become much."""
        if sum(learner.touched.rows for learner in self.learners.values()) > MOST_ROWS:
            await self.save()
