"""Writes lines to a terminal on which nothing that others wrote does anything: vendors' texts, room ids and notes are anybody's.

An escape sequence can clear the screen or set the window's title, a line break forges a line, and a bidirectional override shows a
text in another order (CWE-150, CWE-117).
"""

import sys
from typing import TextIO


def visible(text: str) -> str:
    """The text as one line, with escapes, as in `\\x1b`, for what would do something instead of being seen.

    That is what Unicode calls control, format, surrogate, private or unassigned characters, and separators other than the blank.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(*lines: str, file: TextIO | None = None) -> None:
    """Prints lines, each on its own. What the terminal's encoding lacks is escaped too."""
    out = file or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    for line in lines:
        print(visible(line).encode(encoding, "backslashreplace").decode(encoding), file=out)
