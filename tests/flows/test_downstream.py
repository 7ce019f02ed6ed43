"""Every event arrives at every subscriber, each task's in order, however badly the subscriber behaves. In virtual time."""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.subscribed_events import News, firsts, states, told
from tests.support.times import HOUR
from tests.support.webhook_subscriber import subscriber

TASKS = [60, pytest.param(10_000, marks=pytest.mark.soak)]


def seed() -> int:
    drawn = int(os.environ.get("TALLY_SEED") or random.randrange(2**32))
    print(f"seed {drawn}")
    return drawn


@pytest.mark.parametrize("tasks", TASKS)
def test_who_answers_500_nine_times_of_ten_gets_every_event_in_order(tmp_path: Path, tasks: int) -> None:
    tries: Counter[tuple[str, int]] = Counter()

    def mood(event: dict[str, Any]) -> int:
        tries[(event["subject"], event["sequence"])] += 1
        return 200 if tries[(event["subject"], event["sequence"])] >= 10 else 500

    news = News(tmp_path, seed())
    with news.house.open(), subscriber(mood) as failing:
        news.subscribe(failing)
        news.happen(tasks)
        news.pass_all(limit_ms=30 * 24 * HOUR)
        assert failing.by_subject() == told(news.house.ledger)
        assert min(tries.values()) == 10
        assert states(news.house.ledger).keys() == {"delivered"}


@pytest.mark.parametrize("tasks", TASKS)
def test_who_hangs_or_is_away_for_an_hour_gets_every_event_in_order(tmp_path: Path, tasks: int) -> None:
    hung: set[str] = set()
    dice = random.Random(1)

    def mood(event: dict[str, Any]) -> int | None:
        """Each hundredth event is not answered the first time."""
        if event["id"] not in hung and dice.random() < 0.01:
            hung.add(event["id"])
            return None
        return 200

    news = News(tmp_path, seed())
    with news.house.open(), subscriber(mood) as hanging, subscriber() as away:
        news.subscribe(hanging)
        news.subscribe(away)
        news.happen(tasks // 2)
        away.go()
        news.pass_until(news.house.now + HOUR)
        away.come()
        news.happen(tasks)  # those of before, and as many again
        news.pass_all(limit_ms=30 * 24 * HOUR)
        assert hung
        assert hanging.by_subject() == away.by_subject() == told(news.house.ledger)
        assert states(news.house.ledger).keys() == {"delivered"}


def test_what_fails_nine_times_of_ten_by_chance_and_is_dead_can_be_asked_for_again(tmp_path: Path) -> None:
    dice = random.Random(1)  # with one seed in many, time stands still in this test before a replay has taken its next step
    news = News(tmp_path, 1)
    with news.house.open(), subscriber(lambda _event: 200 if dice.random() < 0.1 else 500) as failing:
        subscription = news.subscribe(failing)
        news.happen(40)
        news.pass_all(limit_ms=60 * 24 * HOUR)
        assert states(news.house.ledger)["dead"] > 0
        for _ in range(20):
            if not states(news.house.ledger)["dead"]:
                break  # a replay of nothing would wait for its turn, and ten of them are refused
            again = news.house.client.post(f"/v1/subscriptions/{subscription}/replay", json={"dead": True})
            assert again.status_code == 202, again.text
            news.pass_all(limit_ms=60 * 24 * HOUR)
        assert {subject: sorted(got) for subject, got in firsts(failing.by_subject()).items()} == told(news.house.ledger)
