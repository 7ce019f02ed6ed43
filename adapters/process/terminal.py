"""Prints lines to a terminal safely: texts of vendors, room ids and notes are untrusted, so control characters are escaped.

An escape sequence can clear the screen or set the window's title, a line break forges a line, and a bidirectional override shows a
text in another order (CWE-150, CWE-117).
"""

import sys
from typing import TextIO


def escape_unprintable(text: str) -> str:
    """Returns the text as one line, with escapes, as in `\\x1b`, instead of characters that are not printable.

    These are what Unicode calls control, format, surrogate, private or unassigned characters, and separators other than the blank.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_lines(*lines: str, file: TextIO | None = None) -> None:
    """Prints each text as a line. Characters that the encoding of the terminal lacks are escaped too."""
    out = file or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    for line in lines:
        print(escape_unprintable(line).encode(encoding, "backslashreplace").decode(encoding), file=out)
