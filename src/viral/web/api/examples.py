"""What the API's description says of parameters, and bodies that routes take."""

from __future__ import annotations

from typing import Final

PARAMETERS: Final[dict[str, str]] = {
    "action": "Only deeds of this kind.",
    "adjustment_id": "The id of an adjustment, as `GET /reflexion/adjustments` lists it.",
    "category": "Only this category.",
    "concept_id": "The id of a concept, as `GET /concepts` lists it.",
    "cursor": "Where the page before ended: its `next_cursor`.",
    "experiment_id": "The id of an experiment, as `GET /experiments` lists it.",
    "favorite": "Only favourites.",
    "format": "CSV, or JSON with one object a line.",
    "generation_id": "The id of a generation, as `GET /generations` lists it.",
    "insight_id": "The id of an insight, as `GET /reflexion/insights` lists it.",
    "invitation_id": "The id of an invitation, as `GET /invitations` lists it.",
    "job_id": "The id of a job, as `GET /jobs` lists it.",
    "job_type": "Only jobs of this type.",
    "key_id": "The id of an API key, as `GET /api-keys` lists it.",
    "limit": "How many there are on a page, at most.",
    "member_id": "The id of a membership, as `GET /members` lists it.",
    "platform": "Only this platform.",
    "search": "Words that all stand in title, hook, caption or script.",
    "since": "Only from this moment on, with its time zone.",
    "source": "Only from this source.",
    "span": "How far back: 24 hours in steps of one, or 7 days in steps of a day.",
    "status": "Only those that stand so.",
    "undone": "Only those that were undone, or only those that are served.",
    "weeks": "How many weeks back.",
}
_CONCEPTS = {"count": 2, "category": "fitness", "platform": "tiktok", "seed": 7}
# By operation.
BODIES: Final[dict[str, object]] = {
    "generate_concepts": _CONCEPTS,
    "order_concepts": _CONCEPTS,
    "add_variants": {"count": 3, "seed": 7},
    "select_variant": {"label": "B"},
    "start_experiment": {"name": "Questions or numbers", "platform": "tiktok", "arms": 2},
    "add_results": [
        {
            "id": "7301",
            "platform": "tiktok",
            "published_at": "2026-11-02T17:00:00Z",
            "views": 12_400,
            "likes": 980,
            "title": "Three tools nobody talks about",
        }
    ],
    "add_trends": [{"topic": "Ten minutes a day", "category": "fitness", "score": 71.5}],
    "undo_shared_effect": {
        "platform": "tiktok",
        "goal": "reach",
        "family": "hook",
        "key": "question",
    },
    "check_replay": {"platform": "tiktok"},
    "rename_tenant": {"name": "Acme Studios"},
    "change_role": {"role": "ADMIN"},
    "invite_person": {"email": "sam@example.com", "role": "MEMBER"},
    "create_key": {"name": "nightly import", "scopes": ["read", "write"]},
    "open_checkout": {"plan": "PRO"},
}
