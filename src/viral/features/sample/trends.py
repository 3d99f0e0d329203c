"""Invented trends for the demo tenant: evergreen, without brands or names."""

from __future__ import annotations

from viral.features.trends import TrendBrief

SAMPLE_SOURCE = "sample"

# Category, topic, score, keywords.
_TRENDS: tuple[tuple[str, str, float, tuple[str, ...]], ...] = (
    ("absurd", "formal meetings with houseplants", 71, ("houseplant", "meeting")),
    ("absurd", "competitive queueing", 64, ("queue", "olympics")),
    ("absurd", "museum tours of the fridge", 58, ("museum", "fridge")),
    ("cartoon", "grumpy cloud characters", 66, ("cloud", "character")),
    ("cartoon", "one-line drawings", 73, ("oneline", "pencil")),
    ("cartoon", "shadow puppet stories", 52, ("shadow", "puppet")),
    ("emotional", "letters to a younger self", 82, ("letter", "memories")),
    ("emotional", "surprise visits home", 88, ("home", "surprise")),
    ("emotional", "voicemails worth keeping", 61, ("voicemail", "family")),
    ("finance", "no-spend weekends", 79, ("nospend", "weekend")),
    ("finance", "the envelope method", 68, ("envelope", "cash")),
    ("finance", "shared budgets", 57, ("budget", "couple")),
    ("finance", "first emergency funds", 74, ("emergencyfund", "savings")),
    ("fitness", "walking after meals", 84, ("walking", "steps")),
    ("fitness", "desk stretches", 77, ("stretch", "desk")),
    ("fitness", "slow push-ups", 63, ("pushups", "strength")),
    ("fitness", "morning mobility", 69, ("mobility", "morning")),
    ("food", "one-pan dinners", 90, ("onepan", "dinner")),
    ("food", "cold noodle bowls", 76, ("noodles", "bowl")),
    ("food", "leftover rice", 72, ("rice", "leftovers")),
    ("food", "crispy chickpeas", 67, ("chickpeas", "snack")),
    ("gaming", "cozy farming games", 81, ("cozygames", "farming")),
    ("gaming", "no-damage runs", 75, ("nodamage", "run")),
    ("gaming", "couch co-op nights", 62, ("coop", "couch")),
    ("luxury", "hand-stitched leather", 59, ("leather", "stitching")),
    ("luxury", "quiet hotel lobbies", 65, ("hotel", "lobby")),
    ("luxury", "mechanical watches", 70, ("watches", "mechanics")),
    ("music", "two-chord songs", 78, ("chords", "song")),
    ("music", "bedroom choirs", 60, ("choir", "harmony")),
    ("music", "kitchen percussion", 55, ("percussion", "kitchen")),
    ("news", "local council votes", 54, ("council", "vote")),
    ("news", "night trains", 69, ("trains", "travel")),
    ("news", "right-to-repair rules", 73, ("repair", "rules")),
    ("relationships", "phone-free dinners", 80, ("phonefree", "dinner")),
    ("relationships", "long-distance rituals", 66, ("longdistance", "ritual")),
    ("relationships", "honest roommate rules", 71, ("roommates", "rules")),
    ("tech", "offline maps", 64, ("maps", "offline")),
    ("tech", "keyboard shortcuts", 83, ("shortcuts", "keyboard")),
    ("tech", "old phones as cameras", 76, ("oldphone", "camera")),
    ("tech", "password managers", 72, ("passwords", "security")),
)


def sample_trends() -> tuple[TrendBrief, ...]:
    """List the sample trends, some for every category."""
    return tuple(
        TrendBrief(
            topic=topic, category=category, source=SAMPLE_SOURCE, score=score, keywords=words
        )
        for category, topic, score, words in _TRENDS
    )
