import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.ledger import Ledger
from tests.benchmarks.audit import Findings, Marks, audit, marks
from tests.benchmarks.stream import callbacks
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import TENCENT_APP

NOW = 1_800_000_000_000
#: Whole tasks and such as are under way.
SENT = list(islice(callbacks(7, NOW, under_way=5), 40))


NOTHING = Marks(inbox=0, timeline=0, events=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger that was sent all of it, and has applied it."""
    folder = tmp_path_factory.mktemp("whole")
    with InProcessApp(folder, NOW + 60_000).open() as house:
        for callback in SENT:
            assert house.post("tencent", callback.body, {"SdkAppId": TENCENT_APP, "Sign": callback.sign}) == 200
        house.applier.apply_waiting()
        house.ledger.checkpoint()
    return folder / "tally.db"


@pytest.fixture
def ledger(whole: Path, tmp_path: Path) -> Iterator[Ledger]:
    """A copy of it, to be spoilt."""
    shutil.copy(whole, tmp_path)
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    yield ledger
    ledger.close()


def audited(ledger: Ledger) -> Findings:
    return audit(ledger, [each.body for each in SENT], NOTHING, name="test", applied=True)


def done(ledger: Ledger, statement: str) -> None:
    with ledger.write() as connection:
        assert connection.execute(text(statement)).rowcount == 1


def test_what_is_whole_passes(ledger: Ledger):
    findings = audited(ledger)
    assert (findings.lost, findings.doubled) == ([], [])
    assert findings.good


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("DELETE FROM inbox WHERE id = 17", "not recorded"),
        ("UPDATE inbox SET applied_at = NULL WHERE id = 17", "callback 17 is not applied"),
        ("DELETE FROM timeline WHERE inbox_id = 17", "callback 17 stands in 0 lines"),
        ("DELETE FROM events WHERE id = (SELECT id FROM events ORDER BY id LIMIT 1 OFFSET 16)", "has no event for version"),
    ],
)
def test_a_loss_is_found(ledger: Ledger, planted: str, said: str):
    done(ledger, planted)
    findings = audited(ledger)
    assert len(findings.lost) == 1
    assert said in findings.lost[0]
    assert not findings.good


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            "INSERT INTO inbox (kind, dedupe_key, received_at, body, verdict, applied_at) "
            "SELECT kind, 'other', received_at, body, verdict, applied_at FROM inbox WHERE id = 17",
            "recorded 2 times",
        ),
        (
            "INSERT INTO timeline (task_id, at, inbox_id, entries) SELECT task_id, at, inbox_id, entries FROM timeline "
            "WHERE inbox_id = 17",
            "callback 17 stands in 2 lines",
        ),
        (
            "INSERT INTO events SELECT id + 1000000, subject, version, type, at, vendor, app_id, kind, doc FROM events"
            " ORDER BY id LIMIT 1 OFFSET 16",
            "has 2 events for version",
        ),
    ],
)
def test_a_double_is_found(ledger: Ledger, planted: str, said: str):
    done(ledger, planted)
    findings = audited(ledger)
    assert any(said in each for each in findings.doubled)
    assert not findings.good


def test_a_task_that_stands_elsewhere_than_its_callbacks_say_is_found(ledger: Ledger):
    done(ledger, "UPDATE tasks SET state = 'lost' WHERE id = (SELECT max(id) FROM tasks WHERE state = 'completed')")
    assert ["is lost, not completed" in each for each in audited(ledger).lost] == [True]


def test_what_was_not_acknowledged_may_be_missing(ledger: Ledger):
    unknown = next(callbacks(8, NOW))
    findings = audit(ledger, [unknown.body], marks(ledger), name="test", unacknowledged=1, applied=True)
    assert len(findings.lost) == 1
    assert findings.good
