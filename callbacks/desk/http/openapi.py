"""Builds the OpenAPI 3.1 document from the endpoint table, and adds the path of the door."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from adapters.vendors.registry import vendor_names
from callbacks.desk.http.endpoint import FreeEndpoint, GuardedEndpoint
from callbacks.desk.http.json_schema import Schema, ref
from callbacks.desk.http.parameters import Param

_PROBLEMS = {
    "Malformed": "The body cannot be read.",
    "Unauthenticated": "No token, or one that is not known.",
    "Forbidden": "The token's role may not do this.",
    "NotFound": "Not found.",
    "TooLarge": "The body is too large.",
    "Invalid": "Parameters are wrong; `errors` has one entry for each.",
    "UriTooLong": "The query string has more than 8 KiB or 100 parameters.",
    "TooMany": "This token has too many requests at once, or too many wrong tokens came from this address: try again after "
    "`Retry-After` seconds. A right token is accepted at any time.",
    "Failed": "A bug.",
    "Unavailable": "The ledger cannot be reached, or the query took too long; try again after `Retry-After` seconds.",
}
_DESCRIPTION = (
    "Tallylight follows the stream tasks that RTC clouds run: it takes the vendors' callbacks and keeps one durable state machine"
    " per task.\n\n"
    "Roles are viewer, operator and admin; each includes the roles before it. Times are RFC 3339, UTC, with milliseconds."
    " Every list has `items` and `next_cursor`, that of events `next_after`; a page of long items may have fewer than"
    " `limit`. Errors are `application/problem+json`. For a wrong method any path answers 405 with `Allow`."
)


_OF_GUARDED = {
    "401": "Unauthenticated",
    "403": "Forbidden",
    "414": "UriTooLong",
    "422": "Invalid",
    "429": "TooMany",
    "503": "Unavailable",
}


def openapi_document(endpoints: Sequence[GuardedEndpoint | FreeEndpoint], schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Returns the document. schemas: of bodies and answers, by name."""
    paths: dict[str, dict[str, Any]] = {"/callbacks/{vendor}": {"post": _door_operation()}}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _describe_operation(endpoint)
    bearer = {"type": "http", "scheme": "bearer", "description": "A token of `[[tokens]]`, or the one that the first start made."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tallylight", "version": _product_version(), "description": _DESCRIPTION},
        "tags": [{"name": name} for name in dict.fromkeys(["Door", *(endpoint.tag for endpoint in endpoints)])],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {name: _problem_response(meaning) for name, meaning in _PROBLEMS.items()},
            "securitySchemes": {"bearer": bearer},
        },
    }


def _product_version() -> str:
    try:
        return version("tallylight")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def _describe_operation(endpoint: GuardedEndpoint | FreeEndpoint) -> dict[str, Any]:
    guarded = isinstance(endpoint, GuardedEndpoint)
    needs = f"Needs the role {endpoint.role}." if isinstance(endpoint, GuardedEndpoint) else ""
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": " ".join(part for part in (endpoint.meaning, needs) if part),
        "parameters": _describe_parameters(endpoint),
        "responses": _describe_responses(endpoint, guarded=guarded),
        "security": [{"bearer": []}] if guarded else [],
    }
    if endpoint.body:
        operation["requestBody"] = _request_body(endpoint.body, required=not endpoint.body_optional)
    return operation


def _request_body(shape: str, *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": ref(shape)}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"\{(\w+)\}", path)]


def _describe_parameters(endpoint: GuardedEndpoint | FreeEndpoint) -> list[dict[str, Any]]:
    in_query = [_describe_parameter(param, "query") for param in endpoint.params]
    return [*_path_parameters(endpoint.path), *in_query, *(_describe_parameter(param, "header") for param in endpoint.headers)]


def _describe_parameter(param: Param, place: str) -> dict[str, Any]:
    schema = {"type": "array", "items": param.schema} if param.repeatable else param.schema
    return {"name": param.name, "in": place, "description": param.meaning, "schema": schema}


def _describe_responses(endpoint: GuardedEndpoint | FreeEndpoint, *, guarded: bool) -> dict[str, Any]:
    responses = {str(status): _describe_response(status, *said) for status, said in endpoint.answers.items()}
    problems = dict(_OF_GUARDED) if guarded else {}
    if "{id}" in endpoint.path:
        problems["404"] = "NotFound"
    if endpoint.method != "GET":  # those that take no body look whether one came
        problems |= {"400": "Malformed", "413": "TooLarge"}
    if endpoint.path == "/metrics":
        del problems["422"]
    for status, name in {**problems, "500": "Failed"}.items():
        responses.setdefault(status, {"$ref": f"#/components/responses/{name}"})
    return dict(sorted(responses.items()))


def _describe_response(status: int, meaning: str, shape: str | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": meaning}
    if shape is not None and "/" in shape:
        response["content"] = {shape: {"schema": {"type": "object" if shape.endswith("json") else "string"}}}
    elif shape is not None:
        media_type = "application/problem+json" if shape == "Problem" else "application/json"
        response["content"] = {media_type: {"schema": ref(shape)}}
    if status == 308:
        response["headers"] = {"Location": {"schema": {"type": "string"}, "description": "The path of the other task."}}
    return response


def _problem_response(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/problem+json": {"schema": ref("Problem")}}}


def _door_operation() -> dict[str, Any]:
    refused: Sequence[tuple[str, str]] = (
        ("400", "It does not have the vendor's documented shape."),
        ("401", "No callback secret of the app matches its signature."),
        ("403", "The app is not configured."),
        ("404", "No vendor has this path."),
        ("413", "It has more than 1 MiB."),
        ("500", "A bug."),
        ("503", "It cannot be stored now; send it again after `Retry-After` seconds."),
    )
    vendor = {"type": "string", "enum": list(vendor_names())}
    return {
        "operationId": "receiveCallback",
        "tags": ["Door"],
        "summary": "Take a vendor's callback",
        "description": "For vendors. No token: the vendor's signature is the proof. It is answered when the raw bytes are durable; \
copies get the same answer.",
        "parameters": [{"name": "vendor", "in": "path", "required": True, "schema": vendor}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": _describe_response(200, "It is durable.", "Taken"),
            **{status: _problem_response(meaning) for status, meaning in refused},
        },
        "security": [],
    }
