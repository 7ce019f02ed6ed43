"""Refusals, numbers and health."""

import asyncio
from pathlib import Path

import pytest

from adapters.clock import monotonic_s, parse_rfc3339, to_rfc3339
from adapters.ledger import deliveries, rejections, stats, subscriptions
from adapters.ledger.availability import LedgerCheck
from adapters.ledger.rejections import RejectedCallback
from adapters.ledger.subscriptions import Subscription
from adapters.settings import Role
from statemachine.delivery_policy import SubscriptionState
from statemachine.states import Anomaly, Verdict
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import TOKENS, DeskHarness, made, settings


def refuse(world: DeskHarness, *numbers: int) -> None:
    refused = [
        RejectedCallback(
            at=T0, vendor="tencent", app_id=None, status=401, reason="bad_signature", detail="no", remote="192.0.2.1", size=n
        )
        for n in numbers
    ]
    with world.ledger.write() as connection:
        rejections.keep(connection, refused)


def test_a_refusal_says_why(world: DeskHarness) -> None:
    refuse(world, 7)

    assert world.get("/v1/rejections").json() == {
        "items": [
            {
                "at": to_rfc3339(T0),
                "vendor": "tencent",
                "app_id": None,
                "status": 401,
                "reason": "bad_signature",
                "detail": "no",
                "remote": "192.0.2.1",
                "size": 7,
            }
        ],
        "next_cursor": None,
    }


def test_refusals_are_listed_newest_first_while_more_arrive(world: DeskHarness) -> None:
    refuse(world, *range(7))
    seen = []
    for items in world.pages("/v1/rejections", limit=3):
        refuse(world, 99)
        seen += [item["size"] for item in items]

    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_the_numbers_of_nothing(world: DeskHarness) -> None:
    assert world.get("/v1/stats").json() == {
        "tasks": [],
        "anomalies": {},
        "callbacks": {
            "received": 0,
            "rejected": 0,
            "last_minute": 0,
            "by_verdict": {},
            "unrecorded": 0,
            "last_unrecorded_at": None,
        },
        "unapplied_callbacks": 0,
        "oldest_unapplied_s": None,
        "overdue_deadlines": 0,
        "most_overdue_s": None,
        "undelivered_events": 0,
        "oldest_undelivered_s": None,
        "spool_rows": 0,
        "parts": [],
        "clock": {"steps": 0, "last_step": None},
    }


def count(world: DeskHarness) -> None:
    tally = stats.BatchCounts(verdicts={f"tencent/{Verdict.APPLIED}": 3}, moves={"tencent/push/running": 2}, passed={"silence": 1})
    with world.ledger.write() as connection:
        stats.add_batch(connection, tally)


def test_the_numbers_of_something(world: DeskHarness) -> None:
    world.task(anomalies=(Anomaly.ZOMBIE,))
    world.callback(1)
    count(world)
    world.now = T0 + 5000

    said = world.get("/v1/stats").json()

    assert said["tasks"] == [{"vendor": "volcengine", "kind": "push", "state": "running", "count": 1}]
    assert said["anomalies"] == {"zombie": 1}
    assert said["callbacks"] == {
        "received": 1,
        "rejected": 0,
        "last_minute": 1,
        "by_verdict": {"applied": 3},
        "unrecorded": 0,
        "last_unrecorded_at": None,
    }
    assert (said["unapplied_callbacks"], said["oldest_unapplied_s"]) == (1, 4.0)


def test_metrics_tell_what_the_ledger_knows_once(world: DeskHarness) -> None:
    world.callback(1)
    count(world)
    for _ in range(2):
        answer = world.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert "tally_unapplied_callbacks 1.0" in lines
    assert 'tally_callbacks_total{vendor="tencent",verdict="applied"} 3.0' in lines
    assert 'tally_moves_total{kind="push",state="running",vendor="tencent"} 2.0' in lines
    assert 'tally_deadlines_passed_total{kind="silence"} 1.0' in lines


def test_metrics_tell_who_is_told_of_events_and_who_waits_for_them(world: DeskHarness) -> None:
    subscribe(world, "active", SubscriptionState.ACTIVE)
    subscribe(world, "paused", SubscriptionState.PAUSED)
    world.tell(*[world.task()] * 2)
    with world.ledger.write() as connection:
        deliveries.record_results(connection, [], T0, {"webhook/delivered": 3, "redis/refused": 1})
    world.now = T0 + 4_000

    for _ in range(2):
        lines = world.get("/metrics").text.splitlines()

    assert [line for line in lines if line.startswith(DOWNSTREAM)] == [
        "tally_undelivered_events 2.0",
        "tally_oldest_undelivered_seconds 4.0",
        'tally_deliveries_total{outcome="refused",sink="redis"} 1.0',
        'tally_deliveries_total{outcome="delivered",sink="webhook"} 3.0',
        'tally_subscriptions{state="active"} 1.0',
        'tally_subscriptions{state="paused"} 1.0',
        'tally_subscriptions{state="disabled"} 0.0',
        "tally_event_streams 0.0",
    ]


DOWNSTREAM = ("tally_undelivered", "tally_oldest_undelivered", "tally_deliveries_total", "tally_subscriptions", "tally_event")


def subscribe(world: DeskHarness, name: str, state: SubscriptionState) -> None:
    about = {"sink": {"type": "webhook"}, "types": ["tally.task.*"], "filter": {}, "description": "", "reason": None}
    times = dict.fromkeys(("old_secret_until", "failing_since", "failed_at", "delivered_at")) | {"created_at": T0, "updated_at": T0}
    with world.ledger.write() as connection:
        new = Subscription(id=name, state=state, secret="s", old_secret=None, position=0, version=1, **about, **times)
        subscriptions.add(connection, new)


def test_the_numbers_tell_how_far_those_who_are_told_are_behind(world: DeskHarness) -> None:
    subscribe(world, "active", SubscriptionState.ACTIVE)
    world.tell(world.task())
    world.now = T0 + 1_500

    said = world.get("/v1/stats").json()

    assert (said["undelivered_events"], said["oldest_undelivered_s"]) == (1, 1.5)


def test_metrics_are_told_without_a_ledger_too(tmp_path: Path) -> None:
    world = DeskHarness(tmp_path, settings())
    world.metrics.unapplied.set(7)
    answer = world.get("/metrics")

    assert answer.status_code == 200
    lines = answer.text.splitlines()
    assert "tally_unapplied_callbacks NaN" in lines
    assert "tally_oldest_undelivered_seconds NaN" in lines
    assert 'tally_subscriptions{state="disabled"} NaN' in lines
    assert "tally_event_streams 0.0" in lines
    world.ledger.close()


def test_the_process_is_alive_whatever_the_ledger_does(tmp_path: Path) -> None:
    world = DeskHarness(tmp_path, settings())

    assert world.get("/healthz", role=None).json() == {"status": "ok"}
    world.ledger.close()


def test_it_is_ready_once_the_schema_is_current(tmp_path: Path) -> None:
    world = DeskHarness(tmp_path, settings())
    LedgerCheck(world.ledger, world.desk.health).check_once()
    answer = world.get("/readyz", role=None)
    world.ledger.close()

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tallylight:problem:not_ready")
    assert "run `tally db upgrade`" in answer.json()["detail"]
    assert [part["part"] for part in answer.json()["parts"]] == ["schema"]

    ready = made(tmp_path)
    LedgerCheck(ready.ledger, ready.desk.health).check_once()
    assert ready.get("/readyz", role=None).json() == {"status": "ready"}
    ready.ledger.close()


def test_readiness_is_told_at_once_while_all_of_the_desks_threads_are_busy(world: DeskHarness) -> None:
    """A probe waits for a second, and then takes the door out of service."""

    async def ask() -> dict[str, float]:
        slow = [asyncio.create_task(world._ask("GET", "/v1/tasks", headers=who)) for _ in range(30) for who in (VIEWER, OPERATOR)]
        while world.ledger.reads < 6:  # three of each
            await asyncio.sleep(0.005)
        took = {}
        for path in ("/readyz", "/healthz"):
            begun = monotonic_s()
            assert (await asyncio.wait_for(world._ask("GET", path, headers=[]), 10)).status_code == 200
            took[path] = monotonic_s() - begun
        world.ledger.may_go_on.set()
        await asyncio.gather(*slow)
        return took

    world.ledger.may_go_on.clear()
    took = asyncio.run(ask())
    assert max(took.values()) < 0.1, took


VIEWER, OPERATOR = ([("Authorization", f"Bearer {TOKENS[role]}")] for role in (Role.VIEWER, Role.OPERATOR))


def test_readiness_names_what_does_not_work_and_since_when(world: DeskHarness) -> None:
    courier, bell = world.desk.health.part("courier"), world.desk.health.part("bell", vital=False)
    bell.failed("it failed: KeyError")
    degraded = world.get("/readyz", role=None)
    courier.failed("it failed: ValueError")
    answer = world.get("/readyz", role=None)

    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    assert [part["part"] for part in degraded.json()["parts"]] == ["bell"]
    assert answer.status_code == 503
    assert answer.json()["detail"] == "courier: it failed: ValueError; bell: it failed: KeyError"
    assert [part["part"] for part in answer.json()["parts"]] == ["courier", "bell"]
    assert all(parse_rfc3339(part["since"]) for part in answer.json()["parts"])
    lines = world.get("/metrics").text.splitlines()
    assert [line for line in lines if line.startswith("tally_part_up{")] == [
        'tally_part_up{part="courier"} 0.0',
        'tally_part_up{part="bell"} 0.0',
    ]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/tasks", "/", "/docs"])
def test_heads_can_be_asked_for(world: DeskHarness, path: str) -> None:
    assert world.ask("HEAD", path).status_code == 200
