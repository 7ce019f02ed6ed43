"""The documents name files that exist, and define every word of the contract."""

import re
from pathlib import Path

import pytest

from statemachine.states import Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State, Verdict

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Their words are explained in docs/tasks.md.
ENUMS = (Kind, Origin, State, Reason, Anomaly, Verdict, OutputState, FileState)
#: A path in backticks: `workers/sweep.py`, `adapters/contract/masking/`; templates with <vendor> are left out.
PATH = re.compile(r"`((?:callbacks|workers|statemachine|adapters|simulator|tests|deploy|docs)/[\w./-]*|tally\.py|serving\.py)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_that_a_document_names_exists(document: Path):
    named = PATH.findall(document.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_between_documents_leads_somewhere(document: Path):
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    "words", [Kind, Origin, State, Reason, Anomaly, Verdict, OutputState, FileState], ids=lambda words: words.__name__
)
def test_the_page_about_tasks_explains_each_word(words: type):
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert [word.value for word in words if f"`{word.value}`" not in text] == []


def test_the_page_about_deadlines_explains_each_deadline():
    text = (ROOT / "docs" / "deadlines.md").read_text(encoding="utf-8")
    assert [kind.value for kind in Deadline if f"`{kind.value}`" not in text] == []
