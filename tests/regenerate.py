"""Rewrites the generated parts of the docs: `python -m tests.regenerate`, from the repository's top folder.

A generated part stands between `<!-- name:begin -->` and `<!-- name:end -->`. A test compares all of them with the code.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.logs import events_table
from adapters.metrics import metrics_table
from adapters.settings import settings_table
from statemachine import policy
from statemachine.transition_table import diagram

ROOT = Path(__file__).parents[1]


def state_diagram() -> str:
    return f"```mermaid\n{diagram()}```\n"


#: For each file, from the top folder, what generates which of its parts.
GENERATED: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"settings": settings_table, "states": state_diagram, "policy": policy.table},
    "docs/observability.md": {"events": events_table, "metrics": metrics_table},
}


def rewritten(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """The text with its generated parts made anew. Raises ValueError where a part's markers are not there exactly once."""
    for name, generate in parts.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        old = re.findall(re.escape(begin) + ".*?" + re.escape(end), text, re.DOTALL)
        if len(old) != 1:
            raise ValueError(f"expected the markers of {name} exactly once")
        text = text.replace(old[0], begin + generate() + end)
    return text


def main() -> None:
    for name, parts in GENERATED.items():
        if (path := ROOT / name).exists():
            path.write_text(rewritten(path.read_text(encoding="utf-8"), parts), encoding="utf-8")


if __name__ == "__main__":
    main()
