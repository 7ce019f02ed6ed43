"""The HTML pages stand alone, and say all that the document says."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import pytest

from callbacks.desk import openapi
from callbacks.desk.http import docs_page
from tests.unit.callbacks.desk.desk_harness import DeskHarness

PAGES = ["/", "/docs"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing(world: DeskHarness, path: str) -> None:
    html = world.get(path, role=None).text

    assert not re.search(r"https?:|//[a-z]|@import|url\(|<(img|iframe|object|embed|base)\b", html.replace("rtmp://", ""))
    assert re.findall(r"<link[^>]*>", html) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"<script[^>]+>|\son\w+=|style=", html)


@pytest.mark.parametrize("path", PAGES)
def test_only_its_own_scripts_and_styles_may_run(world: DeskHarness, path: str) -> None:
    answer = world.get(path, role=None)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))

    for tag in ("script", "style"):
        digests = [hashlib.sha256(text.encode()).digest() for text in re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)]
        assert policy[f"{tag}-src"] == (" ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests) or "'none'")
    assert (policy["default-src"], policy["frame-ancestors"], policy["connect-src"]) == ("'none'", "'none'", "'self'")


def test_the_status_page_makes_no_markup_of_what_it_is_told(world: DeskHarness) -> None:
    html = world.get("/", role=None).text

    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|localStorage", html)
    assert "sessionStorage" in html


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_legible_by_day_and_by_night(world: DeskHarness, path: str) -> None:
    html = world.get(path, role=None).text

    assert 'name="color-scheme" content="light dark"' in html
    assert "prefers-color-scheme: dark" in html


def test_the_docs_have_each_path_parameter_and_shape(world: DeskHarness) -> None:
    html = world.get("/docs", role=None).text

    for methods in openapi()["paths"].values():
        for operation in methods.values():
            assert f'<article id="{operation["operationId"]}">' in html
            assert all(f"<code>{parameter['name']}</code>" in html for parameter in operation["parameters"])
    assert all(f'<article id="{name}">' in html for name in openapi()["components"]["schemas"])


def test_each_link_within_the_docs_leads_somewhere(world: DeskHarness) -> None:
    html = world.get("/docs", role=None).text

    assert set(re.findall(r'href="#(\w+)"', html)) <= set(re.findall(r'id="(\w+)"', html))


def test_what_the_document_says_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    document: Mapping[str, Any] = {
        "info": {"version": evil, "description": evil},
        "tags": [{"name": "T"}],
        "paths": {
            "/<p>/{id}": {
                "get": {
                    "tags": ["T"],
                    "operationId": "x",
                    "summary": evil,
                    "description": evil,
                    "security": [],
                    "parameters": [{"name": evil, "in": "query", "description": evil, "schema": {"enum": [evil]}}],
                    "responses": {"200": {"description": evil, "content": {evil: {"schema": {"type": "string"}}}}},
                }
            }
        },
        "components": {"schemas": {"S": {"description": evil, "properties": {evil: {"type": "string", "description": evil}}}}},
    }

    assert "<script" not in docs_page.render_html(document)
    assert "<p>/" not in docs_page.render_html(document)
