"""The rules of the house that no linter knows."""

import ast
from pathlib import Path

import pytest

from adapters.vendors import DIALECTS

ROOT = Path(__file__).parents[2]
ROOMS = ("callbacks", "workers", "statemachine", "adapters", "simulator")
SOURCES = [*sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")), ROOT / "serving.py", ROOT / "tally.py"]
SQL = ROOT / "adapters" / "ledger"


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_vendors_name_stands_only_in_its_own_files(path: Path):
    allowed = {"registry.py", *DIALECTS}
    if allowed & set(path.relative_to(ROOT).parts) and "vendors" in path.parts:
        return
    text = path.read_text(encoding="utf-8").lower()
    assert [name for name in (*DIALECTS, "byteplus", "trtc") if name in text] == []


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", [p for p in SOURCES if SQL not in p.parents], ids=relative)
def test_sql_stands_only_in_the_ledger(path: Path):
    assert not {"sqlalchemy", "alembic", "sqlite3"} & imported(path)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name not in ("clock.py", "door.py")], ids=relative)
def test_the_wall_clock_is_read_in_one_place(path: Path):
    assert "time" not in imported(path)
