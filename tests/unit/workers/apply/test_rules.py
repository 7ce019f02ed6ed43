"""Silent tasks are queried as often as the quota allows, if there is an account."""

from pathlib import Path

from adapters.ledger import Ledger, facets
from adapters.ledger.facets import Facet
from adapters.vendors.accounts import Accounts
from statemachine.states import Kind
from statemachine.tasks import TaskKey
from tests.support.ledgers import create_schema
from tests.support.sample_apps import TENCENT_APP, settings
from tests.support.times import MINUTE
from workers.apply.rules import Rulebook

KEY = TaskKey(vendor="tencent", app_id=TENCENT_APP, room_id="", vendor_task_id="t", family="7")


def live(kind: Kind, state: str = "running") -> Facet:
    return Facet(vendor="tencent", kind=kind.value, app_id=TENCENT_APP, origin="observed", state=state, reason="", anomalies="")


def book(folder: Path, tasks: dict[Facet, int], *, accounts: bool = True) -> tuple[Rulebook, Ledger]:
    url = f"sqlite:///{folder}/tally.db"
    ledger = Ledger(url)
    create_schema(ledger)
    with ledger.write() as connection:
        facets.add_counts(connection, tasks)
    rulebook = Rulebook(Accounts(settings(url, accounts=accounts)))
    with ledger.read() as connection:
        rulebook.recount_live_tasks(connection, MINUTE)
    return rulebook, ledger


def silence(rulebook: Rulebook, kind: Kind) -> float:
    return rulebook.rules_for(KEY)(kind, {}).silence_s


def test_few_tasks_are_queried_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    rulebook, _ = book(tmp_path, {live(Kind.INGEST): 9_000})
    assert silence(rulebook, Kind.INGEST) == 900


def test_many_tasks_are_queried_less_often_so_that_half_the_quota_stays_free(tmp_path: Path) -> None:
    """20 calls a second are allowed, so 10 may be queries: 36,000 tasks take an hour."""
    rulebook, _ = book(tmp_path, {live(Kind.INGEST): 36_000, live(Kind.INGEST, "stopped"): 500_000})
    assert silence(rulebook, Kind.INGEST) == 3_600
    assert silence(rulebook, Kind.RECORD) == 900


def test_live_tasks_are_counted_once_a_minute(tmp_path: Path) -> None:
    rulebook, ledger = book(tmp_path, {live(Kind.INGEST): 1})
    with ledger.write() as connection:
        facets.add_counts(connection, {live(Kind.INGEST): 35_999})
    with ledger.read() as connection:
        rulebook.recount_live_tasks(connection, 2 * MINUTE - 1)
        assert silence(rulebook, Kind.INGEST) == 900
        rulebook.recount_live_tasks(connection, 2 * MINUTE)
    assert silence(rulebook, Kind.INGEST) == 3_600


def test_without_an_account_no_task_is_queried(tmp_path: Path) -> None:
    rulebook, _ = book(tmp_path, {live(Kind.INGEST): 36_000}, accounts=False)
    rules = rulebook.rules_for(KEY)(Kind.INGEST, {})
    assert (rules.callable, rules.askable, rules.silence_s) == (False, False, 900)
