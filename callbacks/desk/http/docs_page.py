"""Renders the OpenAPI document as one HTML page without scripts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

Doc = Mapping[str, Any]


def render_html(document: Doc) -> str:
    parts = {
        "version": escape(document["info"]["version"]),
        "description": _render_paragraphs(document["info"]["description"]),
        "contents": _render_contents(document),
        "sections": "".join(_render_section(tag["name"], document) for tag in document["tags"]),
        "schemas": "".join(_render_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    }
    return _load_template().substitute(parts)


@cache
def _load_template() -> Template:
    return Template(Path(__file__).with_name("docs.html").read_text(encoding="utf-8"))


def _list_operations(tag: str, document: Doc) -> Iterable[tuple[str, str, Doc]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _render_contents(document: Doc) -> str:
    items = []
    for tag in document["tags"]:
        links = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{_render_method(method)}{_render_path(path)}</a></li>'
            for method, path, operation in _list_operations(tag["name"], document)
        )
        items.append(f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>")
    names = "".join(f'<li><a href="#{name}"><code>{name}</code></a></li>' for name in document["components"]["schemas"])
    return "".join(items) + f"<h2>Shapes</h2><ul>{names}</ul>"


def _render_section(tag: str, document: Doc) -> str:
    operations = "".join(_render_operation(*each, document) for each in _list_operations(tag, document))
    return f"<section><h2>{escape(tag)}</h2>{operations}</section>"


def _render_operation(method: str, path: str, operation: Doc, document: Doc) -> str:
    lock = '<span class="lock">token</span>' if operation["security"] else '<span class="lock open">no token</span>'
    body = operation.get("requestBody")
    asks = f"<h4>Body</h4><p>{_render_content(body['content'])}</p>" if body else ""
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f"<h3>{_render_method(method)}{_render_path(path)}{lock}</h3>"
        f'<p class="summary">{_render_text(operation["summary"])}.</p>{_render_paragraphs(operation["description"])}'
        f"{_render_parameters(operation['parameters'])}{asks}"
        f"<h4>Answers</h4>{_render_answers(operation['responses'], document)}</article>"
    )


def _render_method(method: str) -> str:
    return f'<span class="m {method.lower()}">{method}</span>'


def _render_path(path: str) -> str:
    shown = re.sub(r"(\{\w+\})", r"<i>\1</i>", escape(path))
    return f"<code>{shown}</code>"


def _render_parameters(parameters: Sequence[Doc]) -> str:
    if not parameters:
        return ""
    rows = [
        (
            f"<code>{escape(each['name'])}</code>",
            _render_type(each["schema"]),
            "in the path" if each["in"] == "path" else _render_text(each.get("description", "")),
        )
        for each in parameters
    ]
    return f"<h4>Parameters</h4>{_render_table(rows)}"


def _render_answers(responses: Doc, document: Doc) -> str:
    rows = []
    for status, response in responses.items():
        known = _resolve_response(response, document)
        shape = _render_content(known.get("content", {}))
        rows.append((f'<span class="s s{status[0]}">{status}</span>', shape, _render_text(known["description"])))
    return _render_table(rows)


def _resolve_response(response: Doc, document: Doc) -> Doc:
    if "$ref" not in response:
        return response
    found: Doc = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def _render_content(content: Doc) -> str:
    return " ".join(
        _render_type(each["schema"]) if "$ref" in each["schema"] else f"<code>{escape(media_type)}</code>"
        for media_type, each in content.items()
    )


def _render_schema(name: str, schema: Doc) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"<code>{escape(prop)}</code>",
            _render_type(each),
            _render_text(each.get("description", "")) + ("" if prop in required else ' <span class="may">may be left out</span>'),
        )
        for prop, each in schema["properties"].items()
    ]
    return (
        f'<article id="{escape(name)}"><h3><code>{escape(name)}</code></h3>{_render_paragraphs(schema.get("description", ""))}'
        f"{_render_table(rows)}</article>"
    )


def _render_type(schema: Doc) -> str:
    """Returns a schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}"><code>{name}</code></a>'
    if "const" in schema:
        return f"<code>{escape(str(schema['const']).lower())}</code>"
    if "enum" in schema:
        words = " ".join(f"<code>{'null' if word is None else escape(word)}</code>" for word in schema["enum"])
        return f'<span class="words">{words}</span>'
    if "oneOf" in schema:
        return " or ".join(_render_type(each) for each in schema["oneOf"])
    if schema["type"] == "array":
        return f"list of {_render_type(schema['items'])}"
    return _plain_type(schema)


def _plain_type(schema: Doc) -> str:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = ["time" if kind == "string" and schema.get("format") == "date-time" else str(kind) for kind in types]
    if "properties" in schema:
        members = ", ".join(f"<code>{escape(name)}</code>" for name in schema["properties"])
        return f"{' or '.join(words)} with {members}"
    bounds = f", {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else ""
    usual = f", usually {str(schema['default']).lower()}" if "default" in schema else ""
    return escape(" or ".join(words) + bounds + usual)


def _render_table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(f"<tr><td>{name}</td><td>{shape}</td><td>{meaning}</td></tr>" for name, shape, meaning in rows)
    return f'<div class="t"><table>{lines}</table></div>'


def _render_paragraphs(text: str) -> str:
    return "".join(f"<p>{_render_text(part)}</p>" for part in text.split("\n\n") if part)


def _render_text(text: str) -> str:
    """Escapes a text and turns `code` into HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
