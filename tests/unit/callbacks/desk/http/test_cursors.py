import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.desk.http import cursors


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 10))
def test_a_cursor_is_url_safe_text_that_gives_the_position_back(first: int, second: int) -> None:
    text = cursors.encode(first, second)

    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert cursors.decode(text, int, int) == (first, second)


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "äöü",
        "a",
        "AAAA",
        "\x00",
        "====",
        *map(packed, ["7", "{}", "[]", "[1,2]", '["1"]', "[true]", "[1.5]", "[null]", f"[{2**63}]"]),
    ],
)
def test_what_is_no_cursor_of_the_list_is_refused(text: str) -> None:
    with pytest.raises(cursors.BadCursorError):
        cursors.decode(text, int)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(cursors.BadCursorError):
        cursors.decode(packed("[" * 100_000), int)


@pytest.mark.parametrize("text", ["a\x00", "ü", "", "\ud800"])
def test_a_text_in_a_cursor_is_an_id(text: str) -> None:
    with pytest.raises(cursors.BadCursorError):
        cursors.decode(cursors.encode(text), str)
