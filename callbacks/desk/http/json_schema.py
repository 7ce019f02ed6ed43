"""Builds JSON Schemas (OpenAPI 3.1) from small parts."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(meaning: str, /, **properties: Schema) -> Schema:
    """Returns the schema of an answer: every property is always present."""
    return {"type": "object", "description": meaning, "properties": properties, "required": list(properties)}


def body_of(meaning: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    """Returns the schema of a request body: no other properties are allowed."""
    shape = {"type": "object", "description": meaning, "properties": dict(properties), "required": list(required)}
    return {**shape, "additionalProperties": False}


def or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def described(schema: Schema, meaning: str) -> Schema:
    return {**schema, "description": meaning}


def enum_of(words: Any) -> Schema:
    return {"type": "string", "enum": [str(word) for word in words]}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def page_of(name: str) -> Schema:
    return object_of(
        f"A page of a list of {name}.",
        items=list_of(ref(name)),
        next_cursor=described(or_null(TEXT), "For `cursor`, to get the next page; null on the last one."),
    )
