"""The rules that the models keep, checked without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.validate.access import access_rules
from viral.database.validate.classes import class_rules
from viral.database.validate.columns import column_rules
from viral.database.validate.functions import function_rules
from viral.database.validate.keys import key_rules
from viral.database.validate.names import name_rules
from viral.schema.functions import FUNCTIONS
from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import MetaData

    from viral.database.validate.findings import Finding
    from viral.schema.functions import Function

_TABLE_RULES = (class_rules, access_rules, key_rules, column_rules, name_rules)


def validate_models(
    metadata: MetaData = METADATA, functions: Iterable[Function] = FUNCTIONS
) -> list[Finding]:
    """List what breaks a rule, table by table in the order of their names, then functions."""
    tables = sorted(metadata.tables.values(), key=str)
    found = [finding for table in tables for rules in _TABLE_RULES for finding in rules(table)]
    return [*found, *function_rules(functions)]
