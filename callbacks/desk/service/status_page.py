"""Serves the status page."""

from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from callbacks.desk.http.context import Desk
from callbacks.desk.http.html_page import html_response


async def show_status(desk: Desk, request: Request) -> Response:
    return html_response(_load_html())


@cache
def _load_html() -> str:
    return Path(__file__).with_name("status.html").read_text(encoding="utf-8")
