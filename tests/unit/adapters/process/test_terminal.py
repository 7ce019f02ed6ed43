"""Untrusted text has no effect on a terminal."""

import io
import sys
import unicodedata

import pytest

from adapters.process.terminal import escape_unprintable, print_lines

ACTS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_each_character_that_acts_is_escaped() -> None:
    assert len(ACTS) > 2_000
    shown = escape_unprintable("".join(ACTS))

    assert shown.isprintable()
    assert shown.isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\r\nb", r"a\r\nb"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b2J", r"\x9b2J"),
        ("房间 ü 😀", "房间 ü 😀"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_acts_is_shown(text: str, shown: str) -> None:
    assert escape_unprintable(text) == shown


def test_a_line_break_makes_no_line() -> None:
    out = io.StringIO()
    print_lines("a\nb", "c", file=out)

    assert out.getvalue() == "a\\nb\nc\n"


def test_what_an_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        print_lines("房", file=out)
        out.flush()
        assert raw.getvalue() == b"\\u623f\n"
