"""What a restored ledger wants of the vendors is asked about first: nothing is paid twice, and what runs is not told as refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from adapters.ledger.backup import back_up
from adapters.ledger.restore import restore
from adapters.ledger.shards import Shards
from tests.support.scenario import Scenario, answered_with, tencent_error
from tests.support.start_calls import STARTS
from tests.support.times import MINUTE, SECOND, T0

#: How far a start has come when the backup is made.
MOMENTS = ("asked", "sent", *(pytest.param(each, marks=pytest.mark.soak) for each in ("decided", "known")))
LIVE = {"requested", "accepted", "running", "interrupted", "stopping", "finishing"}


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Scenario]:
    made = Scenario(tmp_path)
    with made.open():
        yield made


def come_to(story: Scenario, moment: str) -> None:
    if moment != "asked":
        story.apply()
    if moment in ("sent", "known"):
        story.caller.run_once()
    if moment == "known":
        story.run(story.now - T0 + 10 * SECOND)


def backup(story: Scenario) -> Path:
    file = Path(f"{story.house.ledger.path}.backup")
    assert story.house.ledger.path is not None
    back_up(story.house.ledger.path, file, iter(()), story.now)
    return file


def lose_and_restore(story: Scenario, file: Path) -> None:
    """The ledger and all its process knew is lost; the backup takes its place, at this moment of the story."""
    house = story.house
    assert house.ledger.path is not None
    house.shards.close()
    house.ledger.close()
    restore(file, house.ledger.path, story.now, replace=True)
    house.ledger = Ledger(house.ledger.url)
    house.shards = Shards(house.ledger)
    story.restart(house.settings)


def later(story: Scenario, ms: int) -> None:
    story.run(story.now - T0 + ms)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_a_start_that_was_made_after_the_backup_is_not_made_again(story: Scenario, vendor: str, action: str, moment: str):
    task_id = story.start(vendor, action)
    come_to(story, moment)
    file = backup(story)
    later(story, 5 * MINUTE)
    assert story.task(task_id)["state"] == "running" or vendor == "tencent", "the lost ledger saw it run"
    lose_and_restore(story, file)
    later(story, 20 * MINUTE)
    assert len(story.wire.calls_of(action)) == 1, "paid twice"
    task = story.task(task_id)
    assert task["reason"] not in ("start_refused", "start_gave_up")
    if vendor == "volcengine" or moment == "known":
        assert task["state"] in LIVE
    else:  # what carries no id of ours is known again by a sign of life, or given up
        assert (task["state"] in LIVE) or (task["state"], task["reason"], task["inferred"]) == ("failed", "start_unknown", True)


@pytest.mark.parametrize(("vendor", "action"), [each for each in STARTS if each[0] == "volcengine"])
@pytest.mark.parametrize("moment", ["asked", pytest.param("decided", marks=pytest.mark.soak)])
def test_a_start_that_the_vendor_does_not_know_is_made_after_all(story: Scenario, vendor: str, action: str, moment: str):
    task_id = story.start(vendor, action)
    come_to(story, moment)
    lose_and_restore(story, backup(story))
    later(story, 3 * MINUTE)
    assert len(story.wire.calls_of(action)) == 1
    assert story.task(task_id)["state"] in ("accepted", "running")


def test_a_start_that_the_vendor_does_not_know_is_not_made_too_late(story: Scenario):
    task_id = story.start("volcengine", "StartRelayStream")
    file = backup(story)
    story.wire.script_calls("StartRelayStream")
    story.house.now += 60 * MINUTE
    lose_and_restore(story, file)
    later(story, 3 * MINUTE)
    assert story.wire.calls_of("StartRelayStream") == []
    assert story.status_of(task_id) == ("failed", "start_gave_up", False)


@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_an_end_that_nobody_remembers_is_asked_about(story: Scenario, vendor: str, action: str):
    task_id = story.start(vendor, action)
    come_to(story, "known")
    file = backup(story)
    story.stop(task_id)
    later(story, MINUTE)
    assert story.task(task_id)["state"] not in ("running", "accepted")
    lose_and_restore(story, file)
    before = story.task(task_id)["version"]
    later(story, MINUTE)
    if action == "StartPublishCdnStream":  # nobody can be asked
        assert story.task(task_id)["state"] in LIVE
    else:
        assert story.task(task_id)["state"] not in ("running", "accepted")
        assert story.task(task_id)["version"] > before + 100, "subscribers have lower ones with other contents"


@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_a_stop_that_waited_still_stops(story: Scenario, vendor: str, action: str):
    task_id = story.start(vendor, action)
    come_to(story, "known")
    story.stop(task_id)
    lose_and_restore(story, backup(story))
    later(story, 30 * MINUTE)
    assert story.task(task_id)["state"] not in ("running", "accepted", "requested")
    stops = [each for each in story.wire.actions() if each.startswith(("Stop", "Delete"))]
    assert stops, "nobody stopped it"


def test_a_stop_under_an_id_of_ours_asks_first_whether_it_runs(story: Scenario):
    task_id = story.start("volcengine", "StartRelayStream")
    come_to(story, "known")
    story.stop(task_id)
    file = backup(story)
    later(story, 5 * MINUTE)
    made = len(story.wire.calls_of("StopRelayStream"))
    lose_and_restore(story, file)
    later(story, 5 * MINUTE)
    assert story.task(task_id)["state"] == "stopped"
    assert len(story.wire.calls_of("StopRelayStream")) == made, "it could have stopped a newer task of this id"


def test_an_update_that_waited_is_dropped_and_the_timeline_says_so(story: Scenario):
    task_id = story.start("volcengine", "StartPushMixedStreamToCDN")
    come_to(story, "known")
    assert story.post_action(task_id, "update", {"params": {"Layout": {"LayoutMode": 2}}}).status_code == 202
    story.apply()
    lose_and_restore(story, backup(story))
    later(story, MINUTE)
    assert story.wire.calls_of("UpdatePushMixedStreamToCDN") == []
    lines = [entry for entry in story.timeline(task_id) if entry["kind"] == "restored"]
    assert [entry["dropped"] for entry in lines] == [["update"]]


def test_what_was_restarted_by_the_lost_ledger_is_not_restarted_again(story: Scenario):
    policy = {"restart": {"on": ["failed"], "pause_s": 60}}
    story.wire.script_calls("StartStreamIngest", answered_with(tencent_error("InvalidParameter.StreamUrl")))
    task_id = story.start("tencent", "StartStreamIngest", policy=policy)
    come_to(story, "known")
    assert story.task(task_id)["state"] == "failed"
    file = backup(story)
    later(story, 2 * MINUTE)
    assert len(story.wire.calls_of("StartStreamIngest")) == 2, "the lost ledger started it again"
    lose_and_restore(story, file)
    later(story, 5 * MINUTE)
    assert len(story.wire.calls_of("StartStreamIngest")) == 2, "paid twice"
