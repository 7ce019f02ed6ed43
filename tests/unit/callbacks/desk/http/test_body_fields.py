"""One table reads a body, reports what is wrong with it, and gives its schema."""

from typing import Any

import pytest

from adapters.text import FieldProblem
from callbacks.desk.http.body_fields import BodyField, NestedError, read_fields, read_flag, read_members, read_number, schema_of
from callbacks.desk.http.json_schema import COUNT, FLAG, TEXT
from callbacks.desk.schemas import schemas

INNER = (BodyField(name="loud", meaning="Loud.", schema=FLAG, read=read_flag),)
FIELDS = (
    BodyField(name="name", meaning="Its name.", schema=TEXT, read=str, required=True),
    BodyField(name="wait_s", meaning="A pause.", schema=COUNT, read=read_number(0, 60, "seconds", whole=True), default=5),
    BodyField(name="inner", meaning="More.", schema=schema_of("More.", INNER), read=read_members(INNER, "must be an object")),
)


def test_what_is_left_out_or_null_has_its_default() -> None:
    expected = {"name": "x", "wait_s": 5, "inner": None}
    assert read_fields(FIELDS, {"name": "x"}) == (expected, [])
    assert read_fields(FIELDS, {"name": "x", "wait_s": None, "inner": None}) == (expected, [])


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"wait_s": 61}, "wait_s", "must be a whole number of seconds from 0 to 60"),
        ({"wait_s": True}, "wait_s", "must be a whole number of seconds from 0 to 60"),
        ({"wait_s": 1.5}, "wait_s", "must be a whole number of seconds from 0 to 60"),
        ({"inner": 1}, "inner", "must be an object"),
        ({"inner": {"loud": 1}}, "inner.loud", "must be true or false"),
        ({"inner": {"lout": None}}, "inner.lout", "is not known; did you mean loud?"),
        ({"naem": None}, "naem", "is not known; did you mean name?"),
    ],
)
def test_each_wrong_member_is_reported_with_what_would_be_right(more: dict[str, Any], field: str, message: str) -> None:
    assert read_fields(FIELDS, {"name": "x", **more})[1] == [FieldProblem(field=field, message=message)]


def test_a_nested_error_is_a_value_error() -> None:
    assert issubclass(NestedError, ValueError)


def test_the_schema_lets_what_may_be_left_out_be_null() -> None:
    schema = schema_of("A thing.", FIELDS)
    assert (schema["required"], schema["additionalProperties"]) == (["name"], False)
    assert {name: member["type"] for name, member in schema["properties"].items()} == {
        "name": "string",
        "wait_s": ["integer", "null"],
        "inner": ["object", "null"],
    }
    assert schema["properties"]["wait_s"]["default"] == 5


@pytest.mark.parametrize("name", ["Replay", "Resend", "Rotate"])
def test_the_document_lets_optional_members_be_null_as_the_desk_does(name: str) -> None:
    """Three minutes of schemathesis found that the document did not say so."""
    members = schemas()[name]["properties"]
    assert [member for member, schema in members.items() if "null" not in schema["type"]] == []
