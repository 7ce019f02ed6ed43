"""The OpenAPI document as one HTML page, rendered here, without a script."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any

Doc = Mapping[str, Any]


def html(document: Doc) -> str:
    parts = {
        "version": escape(document["info"]["version"]),
        "description": _paragraphs(document["info"]["description"]),
        "contents": _contents(document),
        "sections": "".join(_section(tag["name"], document) for tag in document["tags"]),
        "schemas": "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    }
    return _template().substitute(parts)


@cache
def _template() -> Template:
    return Template(Path(__file__).with_name("docs.html").read_text(encoding="utf-8"))


def _operations(tag: str, document: Doc) -> Iterable[tuple[str, str, Doc]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _contents(document: Doc) -> str:
    items = []
    for tag in document["tags"]:
        links = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{_method(method)}{_path(path)}</a></li>'
            for method, path, operation in _operations(tag["name"], document)
        )
        items.append(f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>")
    names = "".join(f'<li><a href="#{name}"><code>{name}</code></a></li>' for name in document["components"]["schemas"])
    return "".join(items) + f"<h2>Shapes</h2><ul>{names}</ul>"


def _section(tag: str, document: Doc) -> str:
    operations = "".join(_operation(*each, document) for each in _operations(tag, document))
    return f"<section><h2>{escape(tag)}</h2>{operations}</section>"


def _operation(method: str, path: str, operation: Doc, document: Doc) -> str:
    lock = '<span class="lock">token</span>' if operation["security"] else '<span class="lock open">no token</span>'
    body = operation.get("requestBody")
    asks = f"<h4>Body</h4><p>{_shape(body['content'])}</p>" if body else ""
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f"<h3>{_method(method)}{_path(path)}{lock}</h3>"
        f'<p class="summary">{_text(operation["summary"])}.</p>{_paragraphs(operation["description"])}'
        f"{_parameters(operation['parameters'])}{asks}<h4>Answers</h4>{_answers(operation['responses'], document)}</article>"
    )


def _method(method: str) -> str:
    return f'<span class="m {method.lower()}">{method}</span>'


def _path(path: str) -> str:
    shown = re.sub(r"(\{\w+\})", r"<i>\1</i>", escape(path))
    return f"<code>{shown}</code>"


def _parameters(parameters: Sequence[Doc]) -> str:
    if not parameters:
        return ""
    rows = [
        (
            f"<code>{escape(each['name'])}</code>",
            _type(each["schema"]),
            "in the path" if each["in"] == "path" else _text(each.get("description", "")),
        )
        for each in parameters
    ]
    return f"<h4>Parameters</h4>{_table(rows)}"


def _answers(responses: Doc, document: Doc) -> str:
    rows = []
    for status, response in responses.items():
        known = _resolved(response, document)
        shape = _shape(known.get("content", {}))
        rows.append((f'<span class="s s{status[0]}">{status}</span>', shape, _text(known["description"])))
    return _table(rows)


def _resolved(response: Doc, document: Doc) -> Doc:
    if "$ref" not in response:
        return response
    found: Doc = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def _shape(content: Doc) -> str:
    return " ".join(
        _type(each["schema"]) if "$ref" in each["schema"] else f"<code>{escape(media_type)}</code>"
        for media_type, each in content.items()
    )


def _schema(name: str, schema: Doc) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"<code>{escape(prop)}</code>",
            _type(each),
            _text(each.get("description", "")) + ("" if prop in required else ' <span class="may">may be left out</span>'),
        )
        for prop, each in schema["properties"].items()
    ]
    return (
        f'<article id="{escape(name)}"><h3><code>{escape(name)}</code></h3>{_paragraphs(schema.get("description", ""))}'
        f"{_table(rows)}</article>"
    )


def _type(schema: Doc) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}"><code>{name}</code></a>'
    if "const" in schema:
        return f"<code>{escape(str(schema['const']).lower())}</code>"
    if "enum" in schema:
        words = " ".join(f"<code>{'null' if word is None else escape(word)}</code>" for word in schema["enum"])
        return f'<span class="words">{words}</span>'
    if "oneOf" in schema:
        return " or ".join(_type(each) for each in schema["oneOf"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
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


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = "".join(f"<tr><td>{name}</td><td>{shape}</td><td>{meaning}</td></tr>" for name, shape, meaning in rows)
    return f'<div class="t"><table>{lines}</table></div>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(part)}</p>" for part in text.split("\n\n") if part)


def _text(text: str) -> str:
    """Escaped, with `code`."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
