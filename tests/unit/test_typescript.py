"""TypeScript types: rows as JSON carries them, and every operation of the API."""

from __future__ import annotations

import re

from viral.database.generate.entities import schema_groups
from viral.database.generate.typescript import api_types, database_types
from viral.schema.tables import METADATA


def interface(source: str, name: str) -> dict[str, str]:
    found = re.search(rf"export interface {name} {{\n(.*?)\n}}", source, re.DOTALL)
    assert found
    return dict(re.findall(r'^  "?([\w.-]+)"?\??: (.*);$', found[1], re.MULTILINE))


def operations(paths: dict[str, object]) -> str:
    document = {"paths": paths, "components": {"schemas": {}}}
    return api_types(document).partition("export interface Operations {\n")[2]


def components(**schemas: object) -> str:
    return api_types({"paths": {}, "components": {"schemas": schemas}})


def property_type(schema: dict[str, object]) -> str:
    source = components(A={"properties": {"a": schema}, "required": ["a"]})
    return interface(source, "A")["a"]


def test_every_table_has_an_interface_with_all_its_columns() -> None:
    source = database_types(schema_groups())

    for table, model in interface(source, "Tables").items():
        assert METADATA.tables[table].c.keys() == list(interface(source, model))
    assert set(METADATA.tables) == set(interface(source, "Tables"))


def test_columns_have_the_types_that_json_carries() -> None:
    source = database_types(schema_groups())

    video = interface(source, "Video")
    assert "Uuid" == video["concept_id"]
    assert "DecimalText" == video["generation_cost"]
    assert "number | null" == video["duration_s"]
    assert "boolean" == video["is_ai_generated"]
    assert "Record<string, unknown> | null" == video["metadata"]
    feedback = interface(source, "PerformanceFeedback")
    assert "number" == feedback["views"]
    assert "DateText" == feedback["observed_on"]
    assert "Timestamp | null" == feedback["judged_at"]
    assert "Base64" == interface(source, "SocialAccount")["access_token"]


def test_lists_in_json_keep_the_type_of_their_items() -> None:
    concept = interface(database_types(schema_groups()), "Concept")

    assert "string[]" == concept["hashtags"]
    assert "unknown[]" == concept["script"]


def test_texts_that_a_check_limits_are_a_union() -> None:
    source = database_types(schema_groups())

    assert '"tiktok" | "youtube" | "instagram"' == interface(source, "Video")["platform"]
    assert "string" == interface(source, "Video")["category"]


def test_a_column_says_what_its_comment_says() -> None:
    source = database_types(schema_groups())

    assert "  /** The tenant this person opens first. */\n  tenant_id: Uuid | null;" in source


def test_an_object_of_the_api_is_an_interface() -> None:
    source = components(
        Page={
            "description": "A page.",
            "properties": {"items": {"type": "array"}, "next-page": {"type": "string"}},
            "required": ["items"],
        }
    )

    assert "/** A page. */\nexport interface Page {" in source
    assert '  items: unknown[];\n  "next-page"?: string;\n' in source


def test_schemas_become_types() -> None:
    reference = {"$ref": "#/components/schemas/Other"}

    assert "number" == property_type({"type": "integer"})
    assert "Blob" == property_type({"type": "string", "format": "binary"})
    assert "Other | null" == property_type({"oneOf": [reference, {"type": "null"}]})
    assert '"a" | "b" | null' == property_type({"enum": ["a", "b", None]})
    assert '"a"' == property_type({"const": "a"})
    assert "string | null" == property_type({"type": ["string", "null"]})
    assert "(string | null)[]" == property_type(
        {"type": "array", "items": {"type": ["string", "null"]}}
    )
    assert "Record<string, number>" == property_type(
        {"type": "object", "additionalProperties": {"type": "number"}}
    )
    assert "{ a?: string; }" == property_type(
        {"type": "object", "properties": {"a": {"type": "string"}}}
    )
    assert "unknown" == property_type({})


def test_an_operation_has_its_parameters_its_body_and_its_answer() -> None:
    source = operations(
        {
            "/films/{id}": {
                "put": {
                    "description": "Change a film.\n\nOnly one's own.",
                    "parameters": [
                        {
                            "name": "id",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string"},
                        },
                        {"name": "dry", "in": "query", "schema": {"type": "boolean"}},
                        {"name": "trace", "in": "header", "schema": {"type": "string"}},
                    ],
                    "requestBody": {"content": {"application/json": {"schema": {"const": 1}}}},
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"type": "integer"}}}},
                        "400": {"content": {"application/json": {"schema": {"type": "string"}}}},
                    },
                }
            }
        }
    )

    assert (
        "  /**\n   * Change a film.\n   *\n   * Only one's own.\n   */\n"
        '  "PUT /films/{id}": {\n'
        "    path: { id: string };\n"
        "    query: { dry?: boolean };\n"
        "    body: 1;\n"
        "    status: 200;\n"
        "    answer: number;\n"
        "  };\n}\n"
    ) == source


def test_an_operation_that_answers_nothing_says_so() -> None:
    source = operations({"/films": {"delete": {"responses": {"204": {"description": "Gone."}}}}})

    assert "    status: 204;\n    answer: null;\n" in source
