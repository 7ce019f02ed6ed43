"""What each sample callback of the vendors' pages does, each alone on an empty ledger with the clock at its own time."""

import json
from itertools import permutations
from pathlib import Path

import pytest

from adapters.vendors import DIALECTS
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import SAMPLES, volcengine

URL = "rtmp://3891.livepush.myqcloud.com/live/s1"
MP4 = "20030000_3000000001__UserId_s_MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAx__UserId_e_main.mp4"
S = 1000


def task(kind, state, reason=None, *, inferred=False, outputs=(), files=(), waits=(), code=None) -> dict:
    return {
        "kind": kind,
        "state": state,
        "reason": reason,
        "inferred": inferred,
        "outputs": list(outputs),
        "files": list(files),
        "waits": sorted(waits),
        "code": code,
    }


def live(kind, state, *, waits=(), **more) -> dict:
    return task(kind, state, waits=[*waits, "silence"], **more)


def to(url, state) -> tuple[str, str]:
    return (url, state)


PUSH_URL = "rtmp://push.example.com/live/s1"

#: sample -> (verdict, reason of the verdict, the task that it makes or None)
EXPECTED = {
    "official-signature-vector-RoomCreate": ("ignored", "room_event", None),
    "TranscodeStarted-mixed-ok": (
        "applied",
        None,
        live("push", "accepted", waits=["start_confirm"], outputs=[to(PUSH_URL, "connecting")]),
    ),
    "TranscodeStarted-single-ok-no-PushURL": ("applied", None, live("push", "accepted", waits=["start_confirm"])),
    "TranscodeStateChanged-pushing": ("applied", None, live("push", "running", outputs=[to(PUSH_URL, "running")])),
    "TranscodeStateChanged-reconnecting-cdn": (
        "applied",
        None,
        live("push", "interrupted", waits=["recovery"], outputs=[to(PUSH_URL, "recovering")], code="4"),
    ),
    "TranscodeUpdated-ok": (
        "applied",
        None,
        live("push", "accepted", waits=["start_confirm"], outputs=[to(PUSH_URL, "connecting")]),
    ),
    "TranscodeStopped-ok": ("applied", None, task("push", "stopped", "unstated", outputs=[to(PUSH_URL, "ended")])),
    "RelayStreamStateChanged-standby": (
        "applied",
        None,
        live("ingest", "accepted", waits=["start_confirm", "idle", "expiry"]),
    ),
    "RelayStreamStateChanged-running": ("applied", None, live("ingest", "running", waits=["expiry"])),
    "RelayStreamStateChanged-stopped-idle-timeout": ("applied", None, task("ingest", "idle_timeout", "max_idle_time", code="1")),
    "RecordStarted-ok": ("applied", None, live("record", "running")),
    "RecordStopped-2020-12-01-vod": (
        "applied",
        None,
        live("record", "finishing", waits=["finish"], files=[("v02b69g10000eldb8vjafvmg", "known")]),
    ),
    "RecordStopped-2023-11-01-object-storage": (
        "applied",
        None,
        live("record", "finishing", waits=["finish"], files=[("directory1/directory2/Rec1_Room1_1611736812853.mp4", "known")]),
    ),
    "RecordUploadDone-ok": ("applied", None, live("record", "finishing", waits=["finish"])),
    "WebRecordResult-started-as-printed-in-docs": ("ignored", "web_record_event", None),
    "vendor_signature_vector_media_204": ("ignored", "media_event", None),
    "relay_401_running_doc_example_EventTsMs": (
        "applied",
        None,
        live("push", "running", outputs=[to("rtmp://tencent-url/xxxx", "running")]),
    ),
    "relay_401_connecting": (
        "applied",
        None,
        live("push", "accepted", waits=["start_confirm"], outputs=[to(URL, "connecting")]),
    ),
    "relay_401_connecting_repeat": (
        "applied",
        None,
        live("push", "accepted", waits=["start_confirm"], outputs=[to(URL, "connecting")]),
    ),
    "relay_401_running": ("applied", None, live("push", "running", outputs=[to(URL, "running")])),
    "relay_401_failure": (
        "applied",
        None,
        live("push", "interrupted", waits=["recovery"], outputs=[to(URL, "failed")], code="1"),
    ),
    "relay_401_idle": ("applied", None, task("push", "stopped", "unstated", inferred=True, outputs=[to(URL, "ended")])),
    "rec_305_upload_stop_captured_ARRIVED_FIRST": ("applied", None, live("record", "finishing", waits=["finish"])),
    "rec_302_recorder_stop_captured_ARRIVED_SECOND": (
        "applied",
        None,
        live("record", "finishing", waits=["finish"], code="0"),
    ),
    "rec_310_mp4_stop_captured": (
        "applied",
        None,
        live("record", "finishing", waits=["finish"], files=[(MP4, "delivered")]),
    ),
    "rec_301_start_ok": ("applied", None, live("record", "running")),
    "rec_306_failover": ("applied", None, live("record", "accepted", waits=["start_confirm"])),
    "rec_307_file_slice_old_doc": ("applied", None, live("record", "running", files=[("xx.m3u8", "known")])),
    "rec_308_upload_error_old_doc": (
        "applied",
        None,
        live("record", "accepted", waits=["start_confirm"], code="InvalidParameter"),
    ),
    "rec_311_vod_commit_ok": ("applied", None, live("record", "finishing", waits=["finish"], files=[("xxxx.mp4", "delivered")])),
    "rec_311_vod_commit_fail": ("applied", None, live("record", "finishing", waits=["finish"], files=[("xxx.mp4", "delayed")])),
    "ingest_701_ok_doc": ("applied", None, live("ingest", "running")),
    "ingest_701_ok_signature_note_body": ("applied", None, live("ingest", "running")),
    "ingest_701_fail": ("applied", None, live("ingest", "accepted", waits=["start_confirm"])),
    "ingest_702_stop": ("applied", None, task("ingest", "completed", "unstated")),
    "web_801_start_ok": ("applied", None, live("page", "running")),
    "web_801_start_fail": ("applied", None, task("page", "failed", "start_refused")),
    "web_802_stop": ("applied", None, live("page", "finishing", waits=["finish"])),
    "web_803_refresh": ("applied", None, live("page", "accepted", waits=["start_confirm"])),
    "web_804_limit": ("applied", None, live("page", "finishing", waits=["finish"])),
    "moderation_1102_stop": ("ignored", "moderation_event", None),
    "ai_901_start": ("ignored", "ai_event", None),
    "transcription_1401_start": ("ignored", "transcription_event", None),
    "room_102_dismiss": ("ignored", "room_event", None),
}


def _signed(vendor: str, sample: dict) -> tuple[str, bytes, dict[str, str]]:
    if vendor == "tencent":
        return vendor, sample["raw"].encode(), sample["headers"]
    body = sample["body"]
    if "secret" not in sample:  # the vendor's page prints a placeholder where the signature stands
        return volcengine(body["EventType"], body["EventData"], body["EventTime"], body["EventId"], nonce_name="Noce")
    return vendor, json.dumps(body).encode(), {}


CALLBACKS = {
    sample["name"]: _signed(vendor, sample)
    for vendor in ("volcengine", "tencent")
    for sample in json.loads((SAMPLES / f"{vendor}.json").read_text())
}


def own_time(name: str) -> int:
    """A moment after the sample's own time, ms."""
    vendor, body, _ = CALLBACKS[name]
    return DIALECTS[vendor].read("", body, received_at=4_000_000_000 * S, source="", dedupe_key="").event_at + 40


def shown(house: InProcessApp) -> dict | None:
    tasks = house.tasks()
    if not tasks:
        return None
    (item,) = tasks
    return {
        "kind": item["kind"],
        "state": item["state"],
        "reason": item["reason"],
        "inferred": item["inferred"],
        "outputs": [(output["url"], output["state"]) for output in item["outputs"]],
        "files": [(file["name"] or file["file_id"], file["state"]) for file in item["files"]],
        "waits": sorted(deadline["kind"] for deadline in item["deadlines"]),
        "code": item["vendor_code"],
    }


def test_every_sample_has_its_line():
    assert set(EXPECTED) == set(CALLBACKS)


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_sample_alone_lands_where_it_should(name: str, tmp_path: Path):
    verdict, reason, expected = EXPECTED[name]
    with InProcessApp(tmp_path, own_time(name)).open() as house:
        house.post_and_apply(*CALLBACKS[name])
        house.sweep.run_once()

        (callback,) = house.get("/v1/callbacks")["items"]
        assert (callback["verdict"], callback["reason"]) == (verdict, reason)
        assert shown(house) == expected


CAPTURED = (
    "rec_305_upload_stop_captured_ARRIVED_FIRST",
    "rec_302_recorder_stop_captured_ARRIVED_SECOND",
    "rec_310_mp4_stop_captured",
)


@pytest.mark.parametrize("doubled", [False, True], ids=["once", "doubled"])
@pytest.mark.parametrize("order", list(permutations(CAPTURED)), ids=lambda o: "-".join(name[4:7] for name in o))
def test_the_captured_recording_ends_completed_with_its_file_in_any_order(order, doubled, tmp_path: Path):
    with InProcessApp(tmp_path, own_time(CAPTURED[2])).open() as house:
        for name in order:
            house.post_and_apply(*CALLBACKS[name])
            if doubled:
                house.post_and_apply(*CALLBACKS[name])
        house.sweep.run_once()

        expected = task("record", "completed", "files_delivered", files=[(MP4, "delivered")], code="0")
        assert shown(house) == expected
        assert len(house.get("/v1/callbacks")["items"]) == 3


@pytest.mark.parametrize("order", list(permutations(CAPTURED)), ids=lambda o: "-".join(name[4:7] for name in o))
def test_the_captured_recording_ends_so_even_when_its_deadlines_pass_in_between(order, tmp_path: Path):
    """Posted months later, each callback makes a deadline due at once; the vendor's own words correct what was inferred."""
    with InProcessApp(tmp_path, own_time(CAPTURED[2]) + 300 * 24 * 3600 * S).open() as house:
        for name in order:
            house.post_and_apply(*CALLBACKS[name])
            house.sweep.run_once()

        assert shown(house) == task("record", "completed", "files_delivered", files=[(MP4, "delivered")], code="0")


def test_samples_posted_years_later_end_as_time_says(tmp_path: Path):
    """A first callback that says "running since 80 hours ago" makes the 72 h expiry due at once."""
    name = "RelayStreamStateChanged-running"
    with InProcessApp(tmp_path, own_time(name) + 80 * 3600 * S).open() as house:
        house.post_and_apply(*CALLBACKS[name])
        house.sweep.run_once()

        assert shown(house) == task("ingest", "expired", "max_lifetime", inferred=True)
