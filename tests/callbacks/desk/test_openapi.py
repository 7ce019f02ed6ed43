"""The document lists what there is, and answers are as it says."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.routing import Route

from callbacks.desk import desk_routes, openapi
from callbacks.desk.openapi import document
from callbacks.desk.schemas import schemas
from statemachine.facts import FactKind
from statemachine.states import Kind
from tests.callbacks.desk.desk_world import A_FILE, World


def test_it_lists_exactly_the_routes_that_exist_and_the_door(world: World) -> None:
    routes = {
        (route.path, method) for route in desk_routes(world.desk) if isinstance(route, Route) for method in route.methods or ()
    }
    listed = {(path, method.upper()) for path, methods in openapi()["paths"].items() for method in methods}

    assert listed == {route for route in routes if route[1] != "HEAD"} | {("/callbacks/{vendor}", "POST")}


def test_it_is_served(world: World) -> None:
    answer = world.get("/openapi.json", role=None)

    assert answer.json() == json.loads(json.dumps(openapi()))
    assert answer.json()["openapi"] == "3.1.0"


def parts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


def test_each_reference_leads_somewhere() -> None:
    for ref in {part["$ref"] for part in parts(openapi()) if "$ref" in part}:
        _, *path = ref.split("/")
        found: Any = openapi()
        for name in path:
            found = found[name]


def test_each_schema_is_used() -> None:
    used = {part["$ref"].rpartition("/")[2] for part in parts(openapi()) if "$ref" in part}

    assert schemas().keys() <= used


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for methods in openapi()["paths"].values() for operation in methods.values()]

    assert len(set(names)) == len(names)


def test_what_needs_a_token_says_so() -> None:
    operations = openapi()["paths"]

    assert operations["/v1/tasks"]["get"]["security"] == [{"bearer": []}]
    assert {"401", "403", "422", "503"} <= operations["/v1/tasks"]["get"]["responses"].keys()
    assert operations["/healthz"]["get"]["security"] == []
    assert operations["/callbacks/{vendor}"]["post"]["security"] == []


def test_a_document_of_no_endpoints_has_the_door() -> None:
    assert list(document(())["paths"]) == ["/callbacks/{vendor}"]


def wrong(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Where a value is not as a schema of ours says."""
    schema = schemas()[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value}"
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    known = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "object": dict,
        "array": list,
        "null": type(None),
    }
    if types and not any(isinstance(value, known[kind]) for kind in types):
        yield f"{where}: {value!r} is not {types}"
    if isinstance(value, dict) and "properties" in schema:
        if set(schema["required"]) - set(value):
            yield f"{where} lacks {set(schema['required']) - set(value)}"
        if not schema.get("additionalProperties") and set(value) - set(schema["properties"]):
            yield f"{where} has {set(value) - set(schema['properties'])}"
        for name, each in schema["properties"].items():
            yield from wrong(value.get(name), each, f"{where}.{name}") if name in value else ()
    if isinstance(value, list):
        for item in value:
            yield from wrong(item, schema["items"], f"{where}[]")


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/tasks", "TaskPage"),
        ("/v1/tasks/{task}", "Task"),
        ("/v1/tasks/{task}/timeline", "TimelinePage"),
        ("/v1/callbacks", "CallbackPage"),
        ("/v1/callbacks/{callback}", "Callback"),
        ("/v1/rejections", "RejectionPage"),
        ("/v1/events", "EventPage"),
        ("/v1/stats", "Stats"),
        ("/healthz", "Status"),
        ("/readyz", "Status"),
        ("/nowhere", "Problem"),
        ("/v1/tasks?limit=x", "Problem"),
    ],
)
def test_answers_are_as_the_document_says(world: World, path: str, shape: str) -> None:
    task = world.task("r1", FactKind.FILES, files=(A_FILE,), task_kind=Kind.RECORD)
    world.tell(world.task("p1"))
    callback = world.callback(1, verdict="stale")

    said = world.ask("GET", path.format(task=task.id, callback=callback)).json()

    assert list(wrong(said, {"$ref": f"#/components/schemas/{shape}"})) == []


def test_the_check_above_finds_differences() -> None:
    assert len(list(wrong({"status": 7, "more": 1}, {"$ref": "/Status"}))) == 3


@pytest.mark.parametrize("name", ["Replay", "Resend"])
def test_the_bodies_of_replays_let_each_member_be_null_as_the_desk_does(name: str) -> None:
    """null means left out: `tests.soak.test_conformance` found that the document did not say so."""
    members = openapi()["components"]["schemas"][name]["properties"]
    assert [member for member, schema in members.items() if "null" not in schema["type"]] == []
