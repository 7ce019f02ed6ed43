"""Renders the numbers and parts of the service as JSON."""

from collections.abc import Mapping
from typing import Any

from adapters.clock_watch import ClockStep, ClockWatch
from adapters.contract.task_json import format_time
from adapters.ledger.stats import Stats
from adapters.supervision import Fault


def render_fault(fault: Fault) -> dict[str, Any]:
    """Renders a part that does not work."""
    return {"part": fault.part, "since": format_time(fault.since), "detail": fault.detail}


def render_part(name: str, fault_: Fault | None) -> dict[str, Any]:
    """Renders a part of the process; `since` and `detail` are null while it works."""
    said = {"since": None, "detail": None} if fault_ is None else {"since": format_time(fault_.since), "detail": fault_.detail}
    return {"part": name, "up": fault_ is None, **said}


def render_stats(
    stats: Stats, *, spool_rows: int, parts: Mapping[str, Fault | None], unwritten: tuple[int, int | None], clock: ClockWatch
) -> dict[str, Any]:
    """Renders the numbers. unwritten: callbacks that could not be stored and are not in the ledger's sums; when the last came."""
    number, last = unwritten
    return {
        "tasks": [
            {"vendor": vendor, "kind": kind, "state": state, "count": count} for (vendor, kind, state), count in stats.tasks.items()
        ],
        "anomalies": stats.anomalies,
        "callbacks": {
            "received": stats.received,
            "rejected": stats.rejected,
            "last_minute": stats.last_minute,
            "by_verdict": stats.by_verdict,
            "unrecorded": stats.unrecorded + number,
            "last_unrecorded_at": format_time(stats.last_unrecorded_at if last is None else last),
        },
        "unapplied_callbacks": stats.unapplied_callbacks,
        "oldest_unapplied_s": stats.oldest_unapplied_s,
        "overdue_deadlines": stats.overdue_deadlines,
        "most_overdue_s": stats.most_overdue_s,
        "undelivered_events": stats.undelivered_events,
        "oldest_undelivered_s": stats.oldest_undelivered_s,
        "spool_rows": spool_rows,
        "parts": [render_part(name, fault_) for name, fault_ in parts.items()],
        "clock": {
            "steps": clock.step_count,
            "last_step": render_clock_step(clock.last_step) if clock.last_step is not None else None,
        },
    }


def render_clock_step(step: ClockStep) -> dict[str, Any]:
    return {"at": format_time(step.at), "by_s": step.by_s}
