"""Logs: one event name with fields per line, in JSON, or coloured on a terminal; on stderr.

Our own events have a name of EVENTS; what libraries say through `logging` or `warnings` comes out in the same form, as
`library.message` with their sentence in `message`.
"""

import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from adapters import clock
from adapters.log_writer import LineStream, LineWriter, Put, stream_put

#: Every event that the program logs, with its meaning. A test compares this with the source.
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "server.started": "The server listens; `host` and `port` say where.",
        "server.inherited": "The listening socket came from the service manager; `server.host` and `server.port` were not used.",
        "server.port_taken": "Something else listens on the address; it is tried again for some seconds.",
        "server.stopping": "The process was told to end; callbacks are answered until the last moment.",
        "server.failed": "The workers could not be started; the process ends.",
        "server.cut_short": "What still ran was left behind, so that the process ends in time; `what` says in which step.",
        "server.hangup": "SIGHUP came, and changes nothing: to read the settings again, restart.",
        "server.few_files": "The limit of open files is low; `files` says how many, `connections` how many clients may connect.",
        "connections.cut": "Connections were closed for what their clients sent or did not send; `reason` says why.",
        "connections.failed": "Looking after connections ran into a bug; the next look is a second later.",
        "server.open_desk": "The desk was opened on purpose: whoever reaches this machine's loopback address may do everything.",
        "server.token_file": "There are no `[[tokens]]`: the token in `file` opens the desk; `new` says whether it was made now.",
        "server.token_exposed": "Others on this machine could read the token's `file`; it is 0600 now. Delete it for a new one.",
        "token.refused": "A request to the desk had a wrong token or login code; `remote` says from where.",
        "callback.recorded": "A callback is durable; `vendor`, `app_id` and `event_type` say which.",
        "callback.rejected": "A callback was refused; `reason` says why.",
        "callback.set_aside": "A callback could not be applied and no longer holds up the others; replay it when mended.",
        "inbox.applied": "A batch of inbox rows was applied; `rows` of them.",
        "inbox.failed": "A batch of inbox rows could not be applied; it is tried again, row by row.",
        "callback.replay_asked": "Somebody asked for callbacks to be decided again; `by` says who, `matched` how many.",
        "stream.not_trimmed": "A Redis stream has more entries than are to be kept, and is left as it is; `error` says why.",
        "subscription.changed": "Somebody changed a subscription, or what is sent to it; `what` says how, and `by` who.",
        "desk.failed": "A request to the desk ran into a bug; it was answered 500.",
        "desk.query_stopped": "A query of the desk was ended; `by` says whose, `why` that it ran or waited too long.",
        "desk.unavailable": "A request to the desk was answered 503: the ledger cannot be reached.",
        "deadline.passed": "A deadline passed; `kind` and `task_id` say which.",
        "task.moved": "A task went from one state to another.",
        "anomaly.raised": "A task has a mark that waits for a person; `anomaly` and `task_id` say which.",
        "callback.unrecorded": "A callback could not be made durable and was answered 503; the vendor may send it again.",
        "callback.failed": "The door ran into a bug; the callback was answered 500.",
        "callback.refused_by_ledger": "The ledger refuses a callback for what it is; it is kept beside the spool.",
        "callback.lines_left_out": "More was refused than is worth a line each; `lines` lines of the event `of` were left out.",
        "breaker.opened": "The ledger did not take callbacks in time; until it does they are written to the spool.",
        "breaker.closed": "The ledger takes callbacks again.",
        "recorder.failed": "Writing callbacks down ran into a bug; what was spooled stays, and the next look tries again.",
        "spool.adopted": "A spool file of a process that is gone was taken over; `rows` callbacks wait in it.",
        "spool.drained": "All that was spooled is in the ledger.",
        "spool.failed": "The spool could not be written or read; `error` says why.",
        "spool.set_aside": "A callback that the ledger refuses was kept in `file`; the next process tries it once more.",
        "spool.stranded": "Callbacks wait in the spool of another ledger; `folder` says where.",
        "spool.torn": "Bytes of a spool file are no callback, as after a power cut; they are kept in `kept`.",
        "call.made": "The vendor did what a call asked; `operation`, `action` and `task_id` say what.",
        "call.failed": "A call did not do what it asked, or nobody knows; `outcome` and `code` say more.",
        "call.not_made": "When a call's turn came, nothing wanted it any more, or it could not be made.",
        "call.unanswered": "Nobody brought an answer to a call in time; one may yet come.",
        "call.waits": "A call, or its answer, waits until the ledger can be reached.",
        "call.lost": "A call ran into a bug or outlived its process; it will count as unanswered.",
        "caller.failed": "A look for calls to be made broke off; the next one tries again.",
        "clock.stepped": "The clock of the machine was set, by `by_s` seconds (less than 0: back); what waits is judged again.",
        "clock.times_mended": "What lay further ahead than it can, because the clock had been ahead, goes on by its own schedule.",
        "courier.failed": "A round of deliveries broke off; the next one tries again.",
        "delivery.dead": "An event could not be delivered for three days; it is kept, and sent again if somebody asks for it.",
        "delivery.failed": "An event could not be sent because of a bug; it counts as not delivered, and is tried again.",
        "subscription.disabled": "A subscription is not served any more; `reason` says why. Resume it when its target is mended.",
        "subscription.failing": "Nothing could be delivered to a subscription for `since_s` seconds.",
        "subscription.recovered": "Events arrive at a subscription again.",
        "worker.started": "The workers of this process work.",
        "sweep.failed": "A sweep for work without a hint broke off; the next one tries again.",
        "hint.failed": "The queue takes or gives no wake-up hints for now; the sweep finds the work.",
        "ledger.file_gone": "The ledger's file was deleted or moved under the process; callbacks are spooled until it is back.",
        "ledger.replaced": "The ledger's file was replaced under the process; callbacks are spooled until the very file is back.",
        "ledger.file_back": "The ledger's own file is where it was again.",
        "ledger.restore_finished": "A restore that had been killed half way was finished; what it replaced is kept.",
        "ledger.away": "The ledger cannot be reached as the door opens; callbacks are spooled until it can.",
        "db.migrating": "The schema goes `from` one revision `to` the next; said again every 5 s, a copy with `rows` of `total`.",
        "db.repaired": "What a killed upgrade of an older version had left half made was undone; `undone` says what.",
        "db.upgraded": "The database has the newest schema.",
        "db.partitions_made": "There is room for the months to come; `names` says which partitions are new.",
        "tail.failed": "Reading new events for those who listen ran into a bug; it is tried again.",
        "part.failed": "A part of the process does not work; `part` says which, `detail` in what way. `/readyz` says so too.",
        "part.recovered": "A part of the process works again; `part` says which.",
        "process.ends": "A part of the process hangs or is gone, and only a new process helps: this one ends, with status 70.",
        "process.stood_still": "No thread of the process ran for `seconds`: it was suspended, or one call kept all from running.",
        "thread.failed": "A thread ended by an exception; it is run again.",
        "log.lines_dropped": "Lines of the log could not be written for a while, and `lines` of them were given up.",
        "library.message": "Something that a library said; its own words are in `message`.",
    }
)


#: How long the end of the process waits for lines that are not written yet, s.
_FLUSH_S = 0.5
#: Writes what goes to stderr, once it was taken over.
_stderr: LineWriter | None = None

#: Libraries whose daily remarks would bury ours; their warnings are heard.
_CHATTY = ("alembic", "dramatiq", "transitions", "urllib3", "uvicorn")


def configure(*, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends all logs of the process to the stream (default: stderr): JSON lines, or coloured text if it is a terminal.

    level: of the `logging` module. Leaves no other handler on the root logger; uvicorn needs `log_config=None`. Without a stream
    all else that is written to `sys.stderr` goes the same way: nothing in the process waits for stderr's reader, or fails with it.
    """
    is_terminal = _is_terminal(stream or sys.stderr)
    put = stream_put(stream) if stream is not None else _take_over_stderr(is_terminal=is_terminal)
    every: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, _name, _time]
    handler = _Handler(put)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*every, _library_message],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(is_terminal)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    # Ours do not go through `logging`: that took two thirds of a line's 35 us, and workers write one for each move.
    structlog.configure(
        processors=[_Rendered([*every, *_renderers(is_terminal)])],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _Lines(name, put),
    )


def dropped_lines() -> int:
    """How many lines could not be written and were given up."""
    return _stderr.dropped if _stderr is not None else 0


def is_stuck() -> bool:
    """Whether lines have waited for some seconds to be written."""
    return _stderr is not None and _stderr.is_stuck


def flush(timeout_s: float = _FLUSH_S) -> None:
    """Waits until all lines are written, but no longer than this."""
    if _stderr is not None:
        _stderr.flush(timeout_s)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _take_over_stderr(*, is_terminal: bool) -> Put:
    """From now on a thread writes what goes to stderr, and what Python prints of threads that end goes into the log."""
    global _stderr
    if sys.stderr is None:  # it was closed before the process began; its number may be another file's by now
        return lambda line: None
    if _stderr is None:
        _stderr = LineWriter(os.dup(sys.stderr.fileno()), _lines_dropped)
        sys.stderr = LineStream(_stderr.put, sys.stderr, is_terminal=is_terminal)
        atexit.register(_stderr.close, _FLUSH_S)
        threading.excepthook = _log_ended_thread
        sys.unraisablehook = _log_unraisable
    return _stderr.put


def _lines_dropped(lines: int) -> str:
    """Made without `structlog`: this must work when nothing else does."""
    event = {"lines": lines, "event": "log.lines_dropped", "level": "warning", "logger": __name__}
    return json.dumps(event | {"timestamp": clock.to_rfc3339(clock.now_ms())})


def _log_ended_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        name = ended.thread.name if ended.thread is not None else None
        log.error("thread.failed", part=name, exc_info=ended.exc_value)


def _log_unraisable(told: "sys.UnraisableHookArgs") -> None:
    error = told.exc_value or told.exc_type()
    logging.getLogger("python").error("%s: %s", told.err_msg or "exception ignored in", type(told.object), exc_info=error)


class _Handler(logging.Handler):
    """For what libraries say."""

    def __init__(self, put: Put) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(self.format(record))
        except Exception as error:  # noqa: BLE001 - who logs must not fail
            self._put(_unrenderable(record.levelname.lower(), record.name, "library.message", error))


class _Rendered:
    """All processors as one. What cannot be rendered is told by its name: who logs must not fail."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        self._processors = processors

    def __call__(self, source: WrappedLogger, method: str, event: EventDict) -> str:
        name = event.get("event")
        try:
            made: Any = event
            for processor in self._processors:
                made = processor(source, method, made)
            return str(made)
        except structlog.DropEvent:
            raise
        except Exception as error:  # noqa: BLE001 - who logs must not fail
            return _unrenderable(method, source.name, str(name), error)


def _unrenderable(level: str, name: str, event: str, error: Exception) -> str:
    return json.dumps({"event": event, "level": level, "logger": name, "unrenderable": type(error).__name__})


class _Lines:
    """Hands over lines, each whole. `name`: of the module that logs."""

    def __init__(self, name: str, put: Put) -> None:
        self.name = name
        self.msg = put
        self.debug = self.info = self.warning = self.error = self.exception = self.critical = put


def logger(name: str) -> FilteringBoundLogger:
    """A logger for a module, as in `log = logger(__name__)`; then `log.info("callback.recorded", vendor=...)`."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


log = logger(__name__)


def events_table() -> str:
    """EVENTS as a Markdown table."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in sorted(EVENTS.items())]
    return "\n".join(["| event | meaning |", "|---|---|", *rows]) + "\n"


def _renderers(is_terminal: bool) -> list[Processor]:
    if is_terminal:
        # The usual formatter prints local variables, and with them secrets.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]


def _time(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = clock.to_rfc3339(clock.now_ms())
    return event


def _name(source: WrappedLogger, _: str, event: EventDict) -> EventDict:
    record: Any = event.get("_record")
    event["logger"] = record.name if record is not None else source.name
    return event


def _library_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["message"] = event["event"]
    event["event"] = "library.message"
    return event
