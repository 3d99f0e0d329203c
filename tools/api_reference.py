"""Write the reference of the REST API from viral-schema/openapi.json: docs/api.md."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "viral-schema" / "openapi.json"
TARGET = ROOT / "docs" / "api.md"
HEAD = """# REST API

Written by `make docs`; do not edit. The same, for programs, is `viral-schema/openapi.json`, and
`/api/v1/openapi.json` while `viral up` runs; types for TypeScript are in `viral-schema/api.ts`.

```console
$ curl -H "Authorization: Bearer vd_live_..." http://127.0.0.1:8000/api/v1/concepts?limit=3
```

- **Who asks**: an API key of the page "API keys", or the cookie of a browser that is signed in,
  whose changes need the form's token as `X-CSRFToken`. Key or session decides the tenant, nothing
  else does.
- **Errors** are problem details (RFC 9457); the [reference](reference.md#errors) has their codes.
- **Repeating** a POST, reading again what may be unchanged: [using the API](using-the-api.md).
- **Lists** give `next_cursor`: hand it in as `cursor` for the next page. It is null on the last.
- **Limits**: 429 with `Retry-After` says how many seconds to wait.
"""

Described = dict[str, Any]  # a part of the description, as JSON has it


def page(description: Described) -> str:
    """Write the whole page: the routes of each resource, then the objects that they carry."""
    resources: dict[str, list[str]] = defaultdict(list)
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            resources[_resource(path)].append(_route(path, method, operation))
    schemas = description["components"]["schemas"]
    objects = [_object(name, schema) for name, schema in sorted(schemas.items())]
    parts = [HEAD, *(_routes(name, rows) for name, rows in sorted(resources.items()))]
    return "\n".join([*parts, "## Objects\n\n| object | fields |\n| --- | --- |", *objects, ""])


def _resource(path: str) -> str:
    words = path.removeprefix("/api/v1").strip("/").split("/")
    return words[0].replace("-", " ").capitalize().replace("Api", "API")


def _routes(name: str, rows: list[str]) -> str:
    head = "| route | does | takes | gives |\n| --- | --- | --- | --- |"
    return f"## {name}\n\n{head}\n" + "\n".join(rows) + "\n"


def _route(path: str, method: str, operation: Described) -> str:
    words = " ".join(str(operation.get("description") or operation["summary"]).split())
    query = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
    takes = [f"`?{name}`" for name in query] + list(_contents(operation.get("requestBody", {})))
    status, answer = next(iter(operation["responses"].items()))
    gives = ", ".join([status, *_contents(answer)])
    route = f"`{method.upper()} {path.removeprefix('/api/v1')}`"
    return f"| {route} | {_cell(words)} | {', '.join(takes)} | {gives} |"


def _contents(part: Described) -> Iterator[str]:
    for kind, content in part.get("content", {}).items():
        form = "form of " if kind.startswith("multipart") else ""
        yield f"{form}{_type(content.get('schema', {}))}"


def _object(name: str, schema: Described) -> str:
    required = schema.get("required", [])
    fields = (
        f"`{field}` {_type(kind)}{'' if field in required else ', optional'}"
        for field, kind in schema.get("properties", {}).items()
        if not field.startswith("_")
    )
    return f"| {name} | {_cell('<br>'.join(fields))} |"


def _type(schema: Described) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(_type(each) for each in choices)
    if "enum" in schema:
        return " or ".join("null" if each is None else f"`{each}`" for each in schema["enum"])
    kinds = schema.get("type", "anything")
    if isinstance(kinds, list):
        return " or ".join(_type({**schema, "type": kind}) for kind in kinds)
    if kinds == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format", kinds)) if kinds == "string" else str(kinds)


def _cell(text: str) -> str:
    return text.replace("|", "·")


if __name__ == "__main__":
    written = page(json.loads(SOURCE.read_text("utf-8")))
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(written, "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != written:
        sys.exit("docs/api.md is stale: run `make docs`.")
