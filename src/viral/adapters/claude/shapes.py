"""JSON schemas as structured output takes them: every field is there, and no other.

It knows no bounds of numbers, texts and lists (platform.claude.com, "Structured outputs"): the
system text says those, and whoever reads the answer holds to them.
"""

from __future__ import annotations

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def record(**fields: object) -> dict[str, object]:
    """Give the schema of an object."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def listing(items: object) -> dict[str, object]:
    """Give the schema of a list."""
    return {"type": "array", "items": items}


def one_of(*words: str) -> dict[str, object]:
    """Give the schema of a word out of a few."""
    return {"type": "string", "enum": list(words)}
