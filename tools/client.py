"""Write the Python client, src/viral/client/, from viral-schema/openapi.json."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from textwrap import indent, wrap
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "viral-schema" / "openapi.json"
FOLDER = ROOT / "src" / "viral" / "client"
# What is written by hand.
OURS = {"__init__.py", "calls.py"}
PREFIX = "/api/v1"
LONGEST_LINE = 100
SPACE = "\n\n"
MADE = "Written by `make docs`; do not edit."
PLAIN = {
    "anything": "object",
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
FORMATS = {"uuid": "UUID", "date-time": "datetime"}
IMPORTS = {
    "UUID": "from uuid import UUID",
    "datetime": "from datetime import datetime",
    "Literal": "from typing import Literal",
    "Iterator": "from collections.abc import Iterator",
    "Sequence": "from collections.abc import Sequence",
    "Path": "from pathlib import Path",
    "Calls": "from viral.client.calls import Calls",
    "read": "from viral.client.calls import read",
    "msgspec": "import msgspec",
}

Json = dict[str, Any]  # a part of the description, as JSON has it


@dataclass
class Argument:
    """What a method takes: a name in the document, and where its value goes."""

    name: str
    kind: str
    default: str | None = None
    is_first: bool = False

    @property
    def declared(self) -> str:
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name}: {self.kind}{default}"


@dataclass
class Operation:
    """One method of the client."""

    name: str
    verb: str
    path: str
    words: str
    answer: str | None
    media: str
    # Of a list in pages: the field with its items, and their type.
    lists: str = ""
    item: str = ""
    takes: list[Argument] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    sends: dict[str, str] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)


class Writer:
    """Writes the module of a resource; the document is what all of them share."""

    def __init__(self, document: Json) -> None:
        self.schemas: Json = document["components"]["schemas"]
        self.tags = {each["name"]: each["description"] for each in document["tags"]}
        self.operations: dict[str, list[Operation]] = defaultdict(list)
        for path, methods in document["paths"].items():
            for verb, described in methods.items():
                # A key cannot do what is open to people alone.
                if any("key" in each for each in described.get("security", ())):
                    operation = self.operation(verb.upper(), path, described)
                    self.operations[described["tags"][0]].append(operation)

        self.owners: dict[str, str] = {}
        for tag, found in sorted(self.operations.items()):
            for name in self.objects_of(found):
                self.owners.setdefault(name, tag)

    def modules(self) -> Iterator[tuple[str, str]]:
        """Give the name and the text of each module."""
        classes = []
        for tag, operations in sorted(self.operations.items()):
            module = _module_of(tag)
            classes.append((module, _class_of(tag)))
            yield f"{module}.py", self.resource(tag, operations)
        imports = "\n".join(f"from viral.client.{module} import {name}" for module, name in classes)
        bases = ", ".join(name for _, name in classes)
        whole = f'class Client({bases}):\n    """The REST API, with an API key."""\n'
        head = _documented("The client of all resources.", MADE)
        yield "everything.py", f"{head}\n\n{imports}\n\n\n{whole}"

    def resource(self, tag: str, operations: list[Operation]) -> str:
        """Write the objects of a resource and its methods."""
        used = list(self.objects_of(operations))
        own = [name for name in used if self.owners[name] == tag]
        objects = "\n\n".join(self.structure(name) for name in own)
        methods = "\n\n".join(_method(each) for each in operations)
        words = self.tags[tag]
        body = f"{objects}\n\nclass {_class_of(tag)}(Calls):\n"
        body += indent(f"{_documented(words, inset=4)}\n\n{methods}", "    ")
        needed = [line for word, line in IMPORTS.items() if _has_word(body, word)]
        needed += [
            f"from viral.client.{_module_of(self.owners[name])} import {_class_of(name)}"
            for name in used
            if name not in own and _has_word(body, _class_of(name))
        ]
        head = _documented(f"/api/v1/{tag}: {words}", MADE)
        head += "\n\nfrom __future__ import annotations\n\n"
        return head + "\n".join(needed) + "\n\n" + body

    def objects_of(self, operations: list[Operation]) -> Iterator[str]:
        """Name the objects that methods take and give, each after those that it holds."""
        seen: dict[str, None] = {}
        for each in operations:
            for kind in (each.answer or "", *(argument.kind for argument in each.takes)):
                for name in self.schemas:
                    if _has_word(kind, _class_of(name)):
                        self.gather(name, seen)
        yield from seen

    def gather(self, name: str, seen: dict[str, None]) -> None:
        """Note an object behind those that it refers to."""
        for inner in _references(self.schemas[name]):
            if inner not in seen:
                self.gather(inner, seen)
        seen[name] = None

    def structure(self, name: str) -> str:
        """Write an object; what may be left out is left out where it says nothing."""
        schema = self.schemas[name]
        required = set(schema.get("required", ()))
        properties = schema["properties"].items()
        lines = [f"    {each}: {self.kind(of)}" for each, of in properties if each in required]
        lines += [
            f"    {each}: {self.kind(of)} = {_default(of)}"
            for each, of in properties
            if each not in required
        ]
        options = (
            "frozen=True" if len(required) == len(properties) else "frozen=True, omit_defaults=True"
        )
        fields = "\n".join(lines)
        words = indent(_documented(schema["description"], inset=4), "    ")
        return f"class {_class_of(name)}(msgspec.Struct, {options}):\n{words}\n\n{fields}\n"

    def kind(self, schema: Json) -> str:
        """Write a type; what the document leaves open is an object."""
        if "$ref" in schema:
            return _class_of(schema["$ref"].rpartition("/")[2])
        if choices := schema.get("oneOf") or schema.get("anyOf"):
            return " | ".join(dict.fromkeys(self.kind(each) for each in choices))
        if "enum" in schema:
            words = [each for each in schema["enum"] if each is not None]
            literal = f"Literal[{', '.join(repr(each) for each in words)}]"
            return literal if len(words) == len(schema["enum"]) else f"{literal} | None"
        kind = schema.get("type", "anything")
        if kind == "array":
            return f"list[{self.kind(schema.get('items', {}))}]"
        if kind == "object":
            return f"dict[str, {self.kind(schema.get('additionalProperties', {}))}]"
        return FORMATS.get(schema.get("format", ""), PLAIN[kind])

    def operation(self, verb: str, path: str, described: Json) -> Operation:
        """Read an operation of the document."""
        _, answer = next(each for each in described["responses"].items() if each[0] < "3")
        media, content = next(iter(answer.get("content", {"": {}}).items()))
        found = Operation(
            name=described["operationId"],
            verb=verb,
            path=path.removeprefix(PREFIX),
            words=described["description"],
            answer=self.kind(content["schema"]) if "schema" in content else None,
            media=media,
        )
        parameters = {each["name"]: each for each in described.get("parameters", ())}
        if "cursor" in parameters:
            page = self.schemas[content["schema"]["$ref"].rpartition("/")[2]]["properties"]
            found.lists = next(name for name in page if name != "next_cursor")
            found.item = self.kind(page[found.lists]["items"])
        for each in parameters.values():
            self.parameter(found, each)
        self.body(found, described.get("requestBody", {}).get("content", {}))
        return found

    def parameter(self, operation: Operation, described: Json) -> None:
        """Add what stands in the path, the query or a header."""
        name, schema = described["name"], described["schema"]
        if described["in"] == "path":
            operation.takes.append(Argument(name, self.kind(schema), is_first=True))
        elif described["in"] == "header":
            name = name.lower().replace("-", "_")
            operation.takes.append(Argument(name, "str | None", "None"))
            operation.headers.append(name)
            operation.sends[name] = name
        elif name != "cursor":
            # How many on a page, not how many in all: the whole list is given.
            shown = "page_size" if operation.lists and name == "limit" else name
            operation.takes.append(Argument(shown, self.kind(schema), _default(schema)))
            operation.query.append(f'"{name}": {shown}')

    def body(self, operation: Operation, content: Json) -> None:
        """Add a body: of an object its fields, of a list the list, of a form its file."""
        for media, described in content.items():
            schema = described["schema"]
            if media != "application/json":
                operation.takes.append(Argument("file", "Path", is_first=True))
                operation.sends["files"] = '{"file": (file.name, file.read_bytes())}'
            elif schema.get("type") == "array":
                kind = f"Sequence[{self.kind(schema['items'])}]"
                operation.takes.append(Argument("items", kind, is_first=True))
                operation.sends["body"] = "items"
            else:
                whole = self.schemas[schema["$ref"].rpartition("/")[2]]
                fields = whole["properties"]
                for name, each in fields.items():
                    default = None if name in whole["required"] else _default(each)
                    kind = self.kind(each).replace("list[", "Sequence[")
                    operation.takes.append(Argument(name, kind, default))
                operation.sends["body"] = (
                    "{" + ", ".join(f'"{name}": {name}' for name in fields) + "}"
                )


def _method(operation: Operation) -> str:
    """Write a method: names of a path and lists come first, the rest is named."""
    first = [each for each in operation.takes if each.is_first]
    named = sorted(
        (each for each in operation.takes if not each.is_first),
        key=lambda each: (each.default is not None, each.name in operation.headers),
    )
    takes = ["self", *(each.declared for each in first)]
    takes += ["*", *(each.declared for each in named)] if named else []
    head = f"def {operation.name}({', '.join(takes)}) -> {_gives(operation)}:\n"
    return head + indent(f"{_documented(operation.words, inset=8)}\n{_call(operation)}\n", "    ")


def _gives(operation: Operation) -> str:
    if operation.lists:
        return f"Iterator[{operation.item}]"
    return operation.answer or "None"


def _call(operation: Operation) -> str:
    path = f'{"f" if "{" in operation.path else ""}"{operation.path}"'
    query = "{" + ", ".join(operation.query) + "}"
    if operation.lists:
        pages = f"self._pages({path}, {operation.answer}, {query})"
        return f"for page in {pages}:\n    yield from page.{operation.lists}"
    sends = {**({"query": query} if operation.query else {}), **operation.sends}
    words = [f'"{operation.verb}"', path, *(f"{name}={value}" for name, value in sends.items())]
    asked = f"self._ask({', '.join(words)})"
    if operation.answer is None:
        return asked
    if operation.media != "application/json":
        return f"return {asked}.text"
    return f"return read({asked}, {operation.answer})"


def _default(schema: Json) -> str:
    if "default" in schema:
        return repr(schema["default"])
    return "[]" if schema.get("type") == "array" else "None"


def _references(schema: object) -> Iterator[str]:
    match schema:
        case {"$ref": str(place)}:
            yield place.rpartition("/")[2]
        case dict():
            for each in schema.values():
                yield from _references(each)
        case list():
            for each in schema:
                yield from _references(each)


def _module_of(tag: str) -> str:
    return tag.replace("-", "_")


def _class_of(name: str) -> str:
    words = name.replace("-", "_").split("_")
    return "".join(each[0].upper() + each[1:] for each in words)


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None


def _documented(words: str, more: str = "", *, inset: int = 0) -> str:
    """Write a docstring: one line that is short enough, then the rest in lines of that length."""
    most = LONGEST_LINE - inset
    first, *rest = (" ".join(each.split()) for each in words.split("\n\n"))
    if len(first) + 7 > most:
        # Where a sentence ends, or a part of one.
        ends = [each.start() for each in re.finditer(r"[.;,] ", first) if each.start() + 7 <= most]
        place = next((each for each in reversed(ends) if first[each] != ","), ends[-1])
        rest.insert(0, _sentence(first[place + 2 :]))
        first = first[:place]
    paragraphs = [*rest, *([more] if more else [])]
    parts = [_sentence(first), *("\n".join(wrap(each, most)) for each in paragraphs)]
    end = "\n" if paragraphs else ""
    return f'"""{SPACE.join(parts)}{end}"""'


def _sentence(words: str) -> str:
    first = words[0].upper() + words[1:]
    return first if first.endswith(".") else f"{first}."


def _formed(text: str) -> str:
    """Put Python into the form of the house."""
    command = [sys.executable, "-m", "ruff"]
    for action in (["check", "--select", "I", "--fix"], ["format"]):
        text = subprocess.run(
            [*command, *action, "--quiet", "--stdin-filename", str(FOLDER / "made.py"), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text


def main(*, is_check: bool) -> None:
    """Write the modules, or say which are stale."""
    writer = Writer(loads(SOURCE.read_text("utf-8")))
    made = {name: _formed(text) for name, text in writer.modules()}
    known = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.py")}
    stale = sorted(name for name in {*made, *known} - OURS if made.get(name) != known.get(name))
    if is_check and stale:
        sys.exit(f"src/viral/client is stale ({', '.join(stale)}): run `make docs`.")
    for name in stale:
        if name in made:
            (FOLDER / name).write_text(made[name], "utf-8")
        else:
            (FOLDER / name).unlink()


if __name__ == "__main__":
    main(is_check=sys.argv[1:] == ["--check"])
