"""Events of the models: a flush seals the secrets of a row, a load says which row they are of.

Not the column's type: it sees a value and not the row, whose tenant and id are authenticated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sqlalchemy import Insert, Table, Update, event
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from viral.database.encryption.cipher import Place, seal, unseal
from viral.database.encryption.keys import KeyRing
from viral.errors import BadSetting, PlaintextRefused, TenantContextMissing
from viral.schema.base import Base, Identified, TenantOwned, uuid7
from viral.schema.encrypted import EncryptedText, SealedSecret, Secret
from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection
    from sqlalchemy.orm import ORMExecuteState, QueryContext

KEYS = "field_keys"


class EncryptedRow(Identified, TenantOwned):
    """What a model with encrypted columns is: a row with an id, of one tenant."""


@dataclass(frozen=True, slots=True)
class RowField:
    """An encrypted field of one row, with the keys that open it."""

    place: Place
    keys: KeyRing | None

    def open(self, ciphertext: bytes) -> str:
        """Return the text of a ciphertext that was sealed here."""
        return unseal(ciphertext, self.place, _required(self.keys))

    def seal(self, secret: Secret) -> SealedSecret:
        """Return the secret as it is stored here."""
        return SealedSecret(seal(secret.reveal(), self.place, _required(self.keys)), self)


def encrypted_columns(table: Table) -> list[str]:
    """Name the encrypted columns of a table."""
    return [column.name for column in table.columns if isinstance(column.type, EncryptedText)]


def encrypted_models() -> dict[type[Base], list[str]]:
    """Return the models that have encrypted columns, with their names."""
    found = {}
    for mapper in Base.registry.mappers:
        if names := encrypted_columns(cast("Table", mapper.local_table)):
            found[cast("type[Base]", mapper.class_)] = names
    return found


def refuse_bulk_write(state: ORMExecuteState) -> None:
    """Refuse a statement that writes an encrypted column: it could not seal a value per row."""
    statement = state.statement
    if not isinstance(statement, Insert | Update) or statement.table not in _TABLES:
        return
    rows = [state.parameters] if isinstance(state.parameters, Mapping) else state.parameters
    written = " ".join({name for row in rows for name in row}) if rows else str(statement)
    # An update names what it sets before a sign without a space; its conditions have spaces.
    mark = "=" if isinstance(statement, Update) and not rows else r"\b"
    names = "|".join(_TABLES[statement.table])
    if re.search(rf"\b(?:{names}){mark}", written):
        raise PlaintextRefused(
            f"A bulk statement cannot write the encrypted columns of {statement.table}: each value"
            " is sealed with the id of its row.",
            hint="Load the rows, assign a Secret to each, and flush.",
        )


def _seal_row(_mapper: Mapper[EncryptedRow], _connection: Connection, row: EncryptedRow) -> None:
    """Seal what was assigned, before the row is written."""
    if row.id is None:
        row.id = uuid7()
    held = instance_state(row).dict
    for name in _COLUMNS[type(row)]:
        secret = held.get(name)
        if secret is None:
            continue
        if not isinstance(secret, Secret):
            raise PlaintextRefused(
                f"{type(row).__name__}.{name} takes a Secret.", hint=f"Write {name}=Secret(text)."
            )
        field = _field(row, name)
        if not isinstance(secret, SealedSecret) or _is_of_another(secret, field):
            setattr(row, name, field.seal(secret))


def _is_of_another(secret: SealedSecret, field: RowField) -> bool:
    # One that is empty is of no row, and needs no key.
    return bool(secret.ciphertext) and secret.field != field


def _name_row(row: EncryptedRow, _context: QueryContext, _names: Iterable[str] = ()) -> None:
    """Tell the secrets of a row that was read which row they are of."""
    held = instance_state(row).dict
    for name in _COLUMNS[type(row)]:
        secret = held.get(name)
        if isinstance(secret, SealedSecret) and secret.field is None:
            named = SealedSecret(secret.ciphertext, _field(row, name))
            set_committed_value(row, name, named)


def _field(row: EncryptedRow, name: str) -> RowField:
    if row.tenant_id is None:
        raise TenantContextMissing(f"This {type(row).__name__} has no tenant to encrypt it for.")
    session = object_session(row)
    keys = session.info.get(KEYS) if isinstance(session, Session) else None
    assert keys is None or isinstance(keys, KeyRing)
    table = type(row).__dict__["__tablename__"]
    return RowField(Place(row.tenant_id, table, name, row.id), keys)


def _required(keys: KeyRing | None) -> KeyRing:
    if keys is None:
        raise BadSetting(
            "The database was opened without keys for its encrypted fields.",
            hint="Pass field_keys to Database(...).",
        )
    return keys


assert METADATA is Base.metadata, "all models are declared before their events are"
_COLUMNS = dict[type[object], list[str]](encrypted_models().items())
_TABLES = {model.__table__: names for model, names in encrypted_models().items()}
for _model in _COLUMNS:
    event.listen(_model, "before_insert", _seal_row)
    event.listen(_model, "before_update", _seal_row)
    event.listen(_model, "load", _name_row)
    event.listen(_model, "refresh", _name_row)
