"""How a value is shown: what a cell of a grid and a field of a row are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from viral.features.studio.rows import Cell, Row, key_address
from viral.features.studio.shapes import Field, Shape, shape_of
from viral.web.studio.addresses import row_address

Look = Literal["null", "empty", "plain", "id", "link", "document", "secret", "unreadable"]
_ID_SHOWN = 8
# Where six digits would need an exponent, and where a float begins to skip whole numbers.
_SIX_DIGITS, _EXACT = 999_999.5, 2.0**53
_NUMBERS = {"integer", "float", "numeric"}


@dataclass(frozen=True, slots=True)
class CellView:
    """A value: `text` as it is shown, `raw` as an edit names it."""

    field: Field
    look: Look
    text: str
    raw: str | None
    href: str = ""
    preview: str = ""
    document: str = ""
    is_editable: bool = False

    @property
    def is_number(self) -> bool:
        return self.field.kind in _NUMBERS


def cell_view(shape: Shape, field: Field, row: Row, *, is_writing: bool) -> CellView:
    """Decide how a value looks, where it leads, and whether it can be changed in its place."""
    if not field.is_shown:
        look: Look = "secret" if field.kind == "secret" else "unreadable"
        return CellView(field, look, field.why_hidden, None)
    cell = row.cells[field.name]
    may_edit = is_writing and field.may_update and not shape.why_no_update and field.kind != "json"
    is_editable = may_edit and not cell.is_cut
    if cell.text is None:
        return CellView(field, "null", "null", None, is_editable=is_editable)
    if cell.text == "":
        return CellView(field, "empty", '""', "", is_editable=is_editable)
    return _with_value(shape, field, row, cell, is_editable=is_editable)


def _with_value(shape: Shape, field: Field, row: Row, cell: Cell, *, is_editable: bool) -> CellView:
    text = cell.text or ""
    if field.kind == "json":
        document = row_address(shape.name, row.address, f"document/{field.name}")
        href = f"{row_address(shape.name, row.address)}#field-{field.name}"
        return CellView(field, "document", text, None, href=href, document=document)
    if field in shape.key and field.kind == "uuid":
        return CellView(
            field, "id", text[-_ID_SHOWN:], text, href=row_address(shape.name, row.address)
        )
    href, preview = target_of(field, text)
    shown = (
        text[-_ID_SHOWN:]
        if field.kind == "uuid"
        else short_text(field, text) + ("…" if cell.is_cut else "")
    )
    return CellView(
        field, "link" if href else "plain", shown, text, href, preview, is_editable=is_editable
    )


def target_of(field: Field, text: str) -> tuple[str, str]:
    """Return the addresses of the row that a value names, and of its preview; empty for none."""
    if field.target is None:
        return "", ""
    target = shape_of(field.target.table)
    if target.why_unreadable or len(target.key) != 1:
        return "", ""
    key = key_address([text])
    return row_address(target.name, key), row_address(target.name, key, "preview")


def short_text(field: Field, text: str | None) -> str:
    """Write a value for a reader: moments to the second, which an edit does not go by."""
    if text is None:
        return ""
    if field.kind == "time":
        return text[:19]
    return _short_number(float(text)) if field.kind == "float" else text


def _short_number(value: float) -> str:
    """Write six digits, and large numbers whole: nobody reads an exponent at a glance."""
    is_large = _SIX_DIGITS <= abs(value) < _EXACT
    return f"{value:.0f}" if is_large else f"{value:.6g}"
