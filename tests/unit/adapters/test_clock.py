import time

import pytest

from adapters.clock import monotonic_s, now_ms, parse_rfc3339, to_rfc3339

MS = 1_795_266_000_123


def test_now_is_in_whole_milliseconds() -> None:
    before = int(time.time() * 1000) - 1

    assert before <= now_ms() <= before + 10_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (MS, "2026-11-21T13:00:00.123Z"), (-1, "1969-12-31T23:59:59.999Z")],
)
def test_a_time_is_written_in_utc_with_milliseconds(ms: int, text: str) -> None:
    assert to_rfc3339(ms) == text
    assert parse_rfc3339(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T13:00:00.123Z",
        "2026-11-21t13:00:00.123z",
        "2026-11-21 13:00:00.123999Z",
        "2026-11-21T21:00:00.123+08:00",
        "2026-11-21T07:30:00.123-05:30",
    ],
)
def test_offsets_and_any_fraction_are_read(text: str) -> None:
    assert parse_rfc3339(text) == MS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1795266000123",
        "2026-11-21",
        "2026-11-21T13:00:00",
        "2026-13-21T13:00:00Z",
        "2026-11-21T13:00:60Z",
        "2026-11-21T13:00:00+0800",
        "2026-11-21T13:00:00Z\n",
        "٢٠٢٦-11-21T13:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"with Z or an offset, such as 2026-11-21T13:00:00\.123Z"):
        parse_rfc3339(text)


def test_waiting_is_measured_by_a_clock_that_nobody_sets() -> None:
    before = time.monotonic()

    assert before <= monotonic_s() <= time.monotonic()
