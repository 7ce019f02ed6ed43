"""Pages of lists: one item more is read than shown, to know whether there is a next page."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def page_of(found: Sequence[T], limit: int, *, shown: Callable[[T], Any], cursor: Callable[[T], str]) -> dict[str, Any]:
    """cursor: of the last item that is shown. found: up to `limit + 1` items."""
    items = found[:limit]
    return {"items": [shown(item) for item in items], "next_cursor": cursor(items[-1]) if len(found) > limit else None}
