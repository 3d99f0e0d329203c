"""The ways in which the whole suite can be run: without NOTIFY, and through a pooler."""

from __future__ import annotations

import os

import pytest


def _is_asked_for(name: str, way: str) -> bool:
    given = os.environ.get(name, "")
    if given not in {"", way}:
        # Passed over in silence, it would be green without having run that way.
        raise pytest.UsageError(f"{name} is {given!r}: it can be {way!r} or unset")
    return given == way


IS_POLLING = _is_asked_for("TESTS_WAKE", "polling")
IS_POOLED = _is_asked_for("TESTS_THROUGH", "pooler")
# What the product is told in every test, beside the settings of the test.
SETTINGS = {"VIRAL_JOBS_LISTEN": "false"} if IS_POLLING else {}

about_the_direct_way = pytest.mark.skipif(
    IS_POOLED, reason="is about the app's direct way, and TESTS_THROUGH=pooler"
)
