"""Pages of lists: one item more is read than shown, to know whether there is a next page.

A page has no more bytes than `PAGE_BYTES`, unless its first item alone has: then it has fewer items than were asked for, and
`next_cursor` leads to the rest.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.responses import Response

from adapters.ledger.page_size import PAGE_BYTES, Page
from callbacks.desk.http.responses import answer_bytes, json_bytes

T = TypeVar("T")


def page_of(found: Sequence[T], limit: int, *, shown: Callable[[T], Any], cursor: Callable[[T], str]) -> Response:
    """cursor: of the last item that is shown. found: up to `limit + 1` items, or what fits a page of the ledger."""
    items, is_more = fitting(found, limit, shown)
    return _page(items, cursor(found[len(items) - 1]) if is_more and items else None)


def page_from(
    found: Sequence[T], limit: int, *, shown: Callable[[T], Any], cursor: Callable[[T], str], more: str | None
) -> Response:
    """The same where a cursor names the first item that is not shown. more: the cursor of what comes behind all that was found."""
    items, _ = fitting(found, limit, shown)
    return _page(items, cursor(found[len(items)]) if len(items) < len(found) else more)


def fitting(found: Sequence[T], limit: int, shown: Callable[[T], Any]) -> tuple[list[bytes], bool]:
    """(the items of a page as JSON, whether there are others)"""
    items: list[bytes] = []
    size = 0
    for item in found[:limit]:
        said = json_bytes(shown(item))
        size += len(said)
        if size > PAGE_BYTES and items:
            break
        items.append(said)
    is_cut = isinstance(found, Page) and found.cut
    return items, is_cut or len(found) > len(items)


def _page(items: Sequence[bytes], next_cursor: str | None) -> Response:
    return answer_bytes(b'{"items":[' + b",".join(items) + b'],"next_cursor":' + json_bytes(next_cursor) + b"}")
