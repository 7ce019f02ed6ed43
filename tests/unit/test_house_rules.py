"""Rules of the source code that no linter knows. Each assertion lists the offenders and says why the rule is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from adapters.vendors import DIALECTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("callbacks", "workers", "statemachine", "adapters", "simulator")
SOURCES = [*sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")), ROOT / "serving.py", ROOT / "tally.py"]
HELPERS = sorted((ROOT / "tests" / "support").glob("*.py"))
LEDGER = ROOT / "adapters" / "ledger"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in (*SOURCES, *HELPERS)}
#: Verbs that say nothing without an object: `_told` once was an error translator, an SQL condition, a row decoder and a response.
VAGUE = frozenset(
    {"tell", "told", "say", "said", "ask", "asked", "hear", "heard", "take", "taken", "took", "hold", "held", "settle", "settled"}
    | {"want", "wanted", "give", "given", "gave", "look", "note", "noted", "go_on", "stand", "standing", "stood", "mean", "meant"}
    | {"make", "made", "reach", "reached", "know", "known", "come", "came", "done", "bring", "brought"}
)
#: First words of docstrings that name a thing by a clause instead of a noun, or put the object before the verb.
CLAUSES = frozenset(
    {"what", "who", "whose", "whom", "whether", "how", "which", "whoever", "whatever", "where", "when", "that", "of"}
)


def require_none(found: list[str], reason: str) -> None:
    """Fails with the reason of the rule and all offenders, one a line."""
    assert not found, "\n".join([f"{reason} ({len(found)}):", *found])


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    """Returns the top-level packages that a file imports."""
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def importers(*packages: str, allowed: tuple[Path, ...] = ()) -> list[str]:
    """Returns the source files that import one of these packages, apart from allowed files and folders."""
    others = [path for path in SOURCES if not {path, *path.parents} & set(allowed)]
    return [relative(path) for path in others if imported(path) & set(packages)]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_a_vendors_name_stands_only_in_its_own_files() -> None:
    found = []
    for path in SOURCES:
        parts = set(path.relative_to(ROOT).parts)
        if "vendors" in parts and parts & {"registry.py", "__init__.py", *DIALECTS}:
            continue
        text = path.read_text(encoding="utf-8").lower()
        found += [f"{relative(path)}: {name}" for name in (*DIALECTS, "byteplus", "trtc") if name in text]
    require_none(found, "a new vendor must need new files only, and no change in others")


def test_sql_stands_only_in_the_ledger() -> None:
    found = importers("sqlalchemy", "alembic", "sqlite3", allowed=(LEDGER,))
    require_none(found, "the guards of transactions are proven where all statements stand together")


def test_the_wall_clock_is_read_in_one_place() -> None:
    allowed = (ROOT / "adapters" / "clock.py", ROOT / "callbacks" / "door.py")
    found = importers("time", allowed=allowed)
    require_none(found, "tests move the clock: code gets the time from adapters.clock or as an argument")


def test_private_functions_name_their_object() -> None:
    found = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        if path.parent.name != "versions"  # migrations are history
        for node in functions(path)
        if node.name.startswith("_") and node.name.strip("_") in VAGUE
    ]
    require_none(found, "a vague verb without an object stands for many things: name the object too, as in `_claim_deliveries`")


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = re.match(r"\W*(\w+)", ast.get_docstring(node) or "")
            if first and first[1].lower() in CLAUSES:
                found.append(f"{relative(path)}:{getattr(node, 'lineno', 1)} {first[1]}")
    require_none(found, "a docstring says what the thing does or is: 'Returns whether ...', not 'Whether ...'")


def test_each_package_has_a_map_of_its_modules() -> None:
    found = []
    for package in (path for path in SOURCES if path.name == "__init__.py" and path.parent.name != "versions"):
        text = ast.get_docstring(TREES[package]) or ""
        modules = {path.stem for path in package.parent.glob("*.py")} - {"__init__"}
        modules |= {path.parent.name for path in package.parent.glob("*/__init__.py")}
        found += [f"{relative(package)}: {name}" for name in sorted(modules) if not re.search(rf"\b{name}\b", text)]
    require_none(found, "readers find their way by the docstring of the package: it has a line for each module and sub-package")


def test_unit_tests_lie_in_folders_that_mirror_the_packages() -> None:
    unit = ROOT / "tests" / "unit"
    found = [relative(path) for path in sorted(unit.rglob("*.py")) if not (ROOT / path.parent.relative_to(unit)).is_dir()]
    require_none(found, "the tests of a module are found by its path; tests of several rooms together stand in tests/flows")
