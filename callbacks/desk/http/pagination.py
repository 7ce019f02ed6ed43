"""Builds the pages of lists. One item more is read than shown, to know whether there is a next page.

A page has at most `PAGE_BYTES`, unless its first item alone is larger. A page of long items has fewer items than requested, and
`next_cursor` leads to the rest.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from adapters.ledger.page_size import PAGE_BYTES, Page
from callbacks.desk.http.responses import json_bytes, json_bytes_response

T = TypeVar("T")


def page_of(found: Sequence[T], limit: int, *, shown: Callable[[T], Any], cursor: Callable[[T], str]) -> Response:
    """Returns the answer with a page. found: up to `limit + 1` items, or what fits a page. cursor: of the last item shown."""
    items, is_more = fit_page(found, limit, shown)
    return _render_page(items, cursor(found[len(items) - 1]) if is_more and items else None)


def page_from(
    found: Sequence[T], limit: int, *, shown: Callable[[T], Any], cursor: Callable[[T], str], more: str | None
) -> Response:
    """Returns a page of a list whose cursor names the first item not shown. more: the cursor behind all of `found`."""
    items, _ = fit_page(found, limit, shown)
    return _render_page(items, cursor(found[len(items)]) if len(items) < len(found) else more)


def fit_page(found: Sequence[T], limit: int, shown: Callable[[T], Any]) -> tuple[list[bytes], bool]:
    """Returns (the items of a page as JSON, whether there are more)."""
    items: list[bytes] = []
    size = 0
    for item in found[:limit]:
        rendered = json_bytes(shown(item))
        size += len(rendered)
        if size > PAGE_BYTES and items:
            break
        items.append(rendered)
    is_cut = isinstance(found, Page) and found.cut
    return items, is_cut or len(found) > len(items)


def _render_page(items: Sequence[bytes], next_cursor: str | None) -> Response:
    return json_bytes_response(b'{"items":[' + b",".join(items) + b'],"next_cursor":' + json_bytes(next_cursor) + b"}")
