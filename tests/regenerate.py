"""Rewrites the generated parts of the docs: `python -m tests.regenerate`, from the repository's top folder.

A generated part stands between `<!-- name:begin -->` and `<!-- name:end -->`. A test compares all of them with the code.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.logs import events_table
from adapters.metrics import metrics_table
from adapters.settings import settings_table
from adapters.vendors.registry import vendor_names
from callbacks.desk.endpoints import ENDPOINTS
from callbacks.desk.http.endpoint import GuardedEndpoint
from statemachine import deadlines, policy
from statemachine.transition_table import state_diagram

ROOT = Path(__file__).parents[1]


def mermaid_state_diagram() -> str:
    return f"```mermaid\n{state_diagram()}```\n"


def endpoints_table() -> str:
    """Returns the desk's endpoints as a Markdown table, in the order of the document."""
    rows = ["| call | role | does |", "|---|---|---|"]
    for endpoint in ENDPOINTS:
        role = endpoint.role.value if isinstance(endpoint, GuardedEndpoint) else "no token"
        rows.append(f"| `{endpoint.method} {endpoint.path}` | {role} | {endpoint.summary} |")
    return "\n".join(rows) + "\n"


def layers_diagram() -> str:
    """Returns the import contracts of pyproject.toml as a Mermaid picture: a package may import what stands below it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    lines = ["flowchart TD"]
    for number, contract in enumerate(each for each in contracts if each["type"] == "layers"):
        inside = "".join(f"inside {container}/" for container in contract.get("containers", [])) or "packages"
        lines += [f'    subgraph layers{number} ["{inside}"]', "        direction TB"]
        layers = [" · ".join(part.strip() for part in re.split(r"[|:]", layer)) for layer in contract["layers"]]
        lines += [f'        layer{number}_{depth}["{names}"]' for depth, names in enumerate(layers)]
        lines += [f"        layer{number}_{depth} --> layer{number}_{depth + 1}" for depth in range(len(layers) - 1)]
        lines.append("    end")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


#: For each file, from the top folder, what generates which of its parts.
GENERATED: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/api.md": {"endpoints": endpoints_table},
    "docs/architecture.md": {"layers": layers_diagram},
    "docs/deadlines.md": {"deadlines": deadlines.markdown_table},
    "docs/observability.md": {"events": events_table, "metrics": metrics_table},
    "docs/settings.md": {"settings": lambda: settings_table(vendor_names())},
    "docs/tasks.md": {"states": mermaid_state_diagram, "policy": policy.markdown_table},
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
