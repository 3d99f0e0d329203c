"""What the statuses of Anthropic's API mean for whoever runs this installation."""

from __future__ import annotations

from viral.errors import VendorError, VendorRefused, VendorUnreachable

_PASSING = {408, 409, 429}
SERVER_FAULT = 500
SUCCESS = 200
# What a person has to change first.
_LASTING: dict[int, tuple[str, str]] = {
    401: ("the key is not accepted", "Correct ANTHROPIC_API_KEY: it is wrong or revoked."),
    402: ("the account cannot pay", "Look at the billing of the Anthropic account."),
    403: ("the key may not do this", "Look at what ANTHROPIC_API_KEY may do."),
    404: (
        "there is no such model for this key",
        "Correct VIRAL_CRITIC_MODEL and VIRAL_WRITER_MODEL.",
    ),
}


def refusal(status: int) -> VendorError:
    """Name a status; sentences of the vendor's stay out, as they quote what was sent."""
    if status in _LASTING:
        reason, hint = _LASTING[status]
        return VendorRefused(f"Claude refuses: {reason} ({status}).", hint=hint)
    if status in _PASSING or status >= SERVER_FAULT:
        return VendorUnreachable(
            f"Claude is busy or has a fault of its own ({status}).",
            hint="Try again later; status.claude.com says how it is.",
        )
    return VendorRefused(
        f"Claude does not take the request ({status}).",
        hint="Check ANTHROPIC_BASE_URL, VIRAL_CRITIC_MODEL and VIRAL_WRITER_MODEL.",
    )
