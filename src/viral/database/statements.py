"""A text of SQL cut into its statements, as PostgreSQL's own lexer would cut it (manual, 4.1).

A wrong cut does no harm: each statement goes to the server alone, in a message that takes one
statement and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

# White space is PostgreSQL's, not Unicode's; a line's comment ends at a carriage return too.
_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<block>   /\* )
    | (?P<quoted>  [eE]'(?:[^'\\]++|\\.|'')*+'  |  '[^']*+(?:''[^']*+)*+'
                   |  "[^"]*+(?:""[^"]*+)*+" )
    | (?P<dollar>  \$ (?:[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]*)? \$ )
    | (?P<word>    [A-Za-z_\x80-\U0010ffff] [A-Za-z_0-9$\x80-\U0010ffff]* )
    | (?P<number>  \d [\w$]* )
    | (?P<sign>    . )
    """,
    re.DOTALL | re.VERBOSE,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)\b")
_WORDS_OF_ROUTINE = 4
_EXAMPLE = (
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'videos'"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and where it begins in the whole text; `verb` is its first word."""

    sql: str
    start: int
    verb: str


def split_statements(text: str) -> list[Statement]:
    """Cut a text at its semicolons; what is empty or only a comment is left out."""
    pieces = [_Piece(0)]
    for kind, start, end in _tokens(text):
        piece = pieces[-1]
        part = text[start:end]
        if kind == "sign" and part == ";" and piece.is_closed:
            piece.end = start
            pieces.append(_Piece(end))
        elif kind == "word":
            piece.add_word(part.upper(), start)
        elif kind != "space":
            piece.add_other(part, start)
    pieces[-1].end = len(text)
    return [
        Statement(text[piece.first : piece.end].rstrip(), piece.first, " ".join(piece.words[:1]))
        for piece in pieces
        if piece.first is not None
    ]


class _Piece:
    """What lies between two semicolons, while it is read."""

    __slots__ = ("depth", "end", "first", "is_routine", "nesting", "words")

    def __init__(self, start: int) -> None:
        self.end = start
        self.first: int | None = None
        self.words: list[str] = []
        # Open parentheses, and open BEGIN and CASE of a routine whose body is plain SQL.
        self.depth = 0
        self.nesting = 0
        self.is_routine = False

    @property
    def is_closed(self) -> bool:
        return self.depth <= 0 and self.nesting <= 0

    def add_word(self, word: str, start: int) -> None:
        if self.first is None:
            self.first = start
        if len(self.words) < _WORDS_OF_ROUTINE:
            self.words.append(word)
            self.is_routine = _ROUTINE.match(" ".join(self.words)) is not None
        if self.is_routine:
            if word == "BEGIN" or (word == "CASE" and self.nesting):
                self.nesting += 1
            elif word == "END" and self.nesting:
                self.nesting -= 1

    def add_other(self, part: str, start: int) -> None:
        if self.first is None:
            if part == "\\":
                raise _psql_command()
            self.first = start
            self.words.append("")
        self.depth += (part == "(") - (part == ")")


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    position = 0
    while (found := _TOKEN.match(text, position)) is not None:
        kind, end = str(found.lastgroup), found.end()
        if kind == "block":
            kind, end = "space", _end_of_comment(text, end)
        elif kind == "dollar":
            close = text.find(found[0], end)
            end = len(text) if close < 0 else close + len(found[0])
        yield kind, position, end
        position = end


def _end_of_comment(text: str, position: int) -> int:
    """Find the end of a comment; they nest in PostgreSQL."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _psql_command() -> BadInput:
    return BadInput(
        "A line begins with a backslash: that is a command of psql, not SQL.",
        hint=f"Ask the catalogue, for example: {_EXAMPLE}",
    )
