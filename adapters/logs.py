"""Logs to stderr: one event name with fields per line, in JSON, or coloured on a terminal.

Our own events have a name of EVENTS; what libraries log through `logging` or `warnings` is written in the same form, as
`library.message` with their text in `message`.
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
from adapters.log_writer import LineStream, LineWriter, PutLine, put_to_stream

#: Every event that the program logs, with its meaning. A test compares this with the source.
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "server.started": "The server listens; `host` and `port` say where.",
        "server.inherited": "The listening socket came from the service manager; `server.host` and `server.port` are not used.",
        "server.port_taken": "Another process listens on the address; this one tries again for some seconds.",
        "server.stopping": "The process was told to end; callbacks are answered until the last moment.",
        "server.failed": "The workers could not be started; the process ends.",
        "server.cut_short": "The process ended before all its work did, to end in time; `what` names the step that was cut short.",
        "server.hangup": "SIGHUP came; it changes nothing. To read the settings again, restart.",
        "server.few_files": "The limit of open files is low: it is `files`, so at most `connections` clients may connect.",
        "connections.cut": "Connections were closed because of what their clients sent or did not send; `reason` says why.",
        "connections.failed": "The check of the connections failed because of a bug; the next check is a second later.",
        "server.open_desk": "The desk is open on purpose: any client on the loopback address of this machine may do everything.",
        "server.token_file": "There are no `[[tokens]]`: the token in `file` opens the desk; `new` says whether it is new.",
        "server.token_exposed": "Other users of this machine could read `file`; its mode is 0600 now. Delete it for a new token.",
        "token.refused": "A request to the desk had a wrong token or login code; `remote` says from where.",
        "callback.recorded": "A callback is durable; `vendor`, `app_id` and `event_type` say which one.",
        "callback.rejected": "A callback was rejected; `reason` and `detail` say why.",
        "callback.set_aside": "A callback could not be applied; it no longer blocks the others. Replay it after the fix.",
        "inbox.applied": "A batch of `rows` inbox rows was applied.",
        "inbox.failed": "A batch of inbox rows could not be applied; it is tried again, row by row.",
        "callback.replay_asked": "A replay of callbacks was requested; `by` says by whom, `matched` how many callbacks.",
        "stream.not_trimmed": "A Redis stream has more entries than it should keep, but was not trimmed; `error` says why.",
        "subscription.changed": "A subscription, or what is sent to it, was changed; `what` says how, and `by` by whom.",
        "desk.failed": "A request to the desk failed because of a bug; it was answered 500.",
        "desk.query_stopped": "A query of the desk was stopped, because it ran or waited too long (`why`); `by` says whose query.",
        "desk.unavailable": "A request to the desk was answered 503: the ledger cannot be reached.",
        "deadline.passed": "A deadline passed; `kind` and `task_id` say which one.",
        "task.moved": "A task changed its state.",
        "anomaly.raised": "A task has an anomaly that a person must look at; `anomaly` and `task_id` say which one.",
        "callback.unrecorded": "A callback could not be made durable and was answered 503; the vendor may send it again.",
        "callback.failed": "The door failed because of a bug; the callback was answered 500.",
        "callback.refused_by_ledger": "The ledger refuses a callback because of its content; it is kept beside the spool.",
        "callback.lines_left_out": "There were too many events `of` this name for a line each; `lines` lines were left out.",
        "breaker.opened": "The ledger did not take callbacks in time; until it does, they are written to the spool.",
        "breaker.closed": "The ledger takes callbacks again.",
        "recorder.failed": "Recording callbacks failed because of a bug; spooled callbacks stay spooled, and it is tried again.",
        "spool.adopted": "A spool file of a process that is gone was taken over, with `rows` callbacks.",
        "spool.drained": "All spooled callbacks are in the ledger.",
        "spool.failed": "The spool could not be written or read; `error` says why.",
        "spool.set_aside": "A callback that the ledger refuses was kept in `file`; the next process tries it once more.",
        "spool.stranded": "Callbacks wait in the spool of another ledger; `folder` says where.",
        "spool.torn": "Some bytes of a spool file are no callback, as after a power cut; they are kept in `kept`.",
        "call.made": "A call to a vendor succeeded; `operation`, `action` and `task_id` say which one.",
        "call.failed": "A call to a vendor failed, or its result is unknown; `outcome` and `code` say more.",
        "call.not_made": "A call to a vendor was not made: it was not needed any more, or it could not be made.",
        "call.unanswered": "A call to a vendor got no answer in time; the answer may still come.",
        "call.waits": "A call, or its answer, waits until the ledger can be reached.",
        "call.lost": "A call to a vendor failed because of a bug, or its process ended; it will count as unanswered.",
        "caller.failed": "The search for calls to be made failed; the next search tries again.",
        "clock.stepped": "The clock of the machine was set, by `by_s` seconds (less than 0: back); deadlines are checked again.",
        "clock.times_mended": "Times lay too far in the future, because the clock had been ahead; they were set anew.",
        "courier.failed": "A round of deliveries failed; the next one tries again.",
        "delivery.dead": "An event could not be delivered for three days; it is kept, and sent again on request.",
        "delivery.failed": "An event could not be sent because of a bug; it counts as not delivered, and is tried again.",
        "subscription.disabled": "A subscription is not served any more; `reason` says why. Resume it when its target works again.",
        "subscription.failing": "No event could be delivered to a subscription for `since_s` seconds.",
        "subscription.recovered": "Events arrive at a subscription again.",
        "worker.started": "The workers of this process have started.",
        "sweep.failed": "A sweep, which looks for work without hints, failed; the next one tries again.",
        "hint.failed": "The queue does not transport wake-up hints for now; the sweep finds the work.",
        "ledger.file_gone": "The ledger's file was deleted or moved under the process; callbacks are spooled until it is back.",
        "ledger.replaced": "The ledger's file was replaced under the process; callbacks are spooled until the original is back.",
        "ledger.file_back": "The ledger's own file is back in its place.",
        "ledger.restore_finished": "A restore that had been killed half way was finished; the ledger that it replaced is kept.",
        "ledger.away": "The ledger cannot be reached at the start; callbacks are spooled until it can.",
        "db.migrating": "The schema is migrated `from` a revision `to` the next; logged every 5 s, a copy with `rows` of `total`.",
        "db.repaired": "A killed upgrade of an older version had left changes; they were undone, `undone` says which.",
        "db.upgraded": "The database has the newest schema.",
        "db.partitions_made": "Partitions for the coming months were created; `names` says which.",
        "tail.failed": "Reading new events for event streams failed because of a bug; it is tried again.",
        "part.failed": "A part of the process does not work; `part` says which, `detail` in what way. `/readyz` shows it too.",
        "part.recovered": "A part of the process works again; `part` says which.",
        "process.ends": "A part of the process hangs or is gone, and only a new process helps: this one ends, with status 70.",
        "process.stood_still": "No thread of the process ran for `seconds`: it was suspended, or one call blocked all threads.",
        "thread.failed": "A thread ended by an exception; it is run again.",
        "log.lines_dropped": "Log lines could not be written for a while, and `lines` of them were dropped.",
        "library.message": "A library logged something; its text is in `message`.",
    }
)


#: Time that the end of the process waits for lines that are not written yet, s.
_FLUSH_S = 0.5
#: The writer of all that goes to stderr; None until `configure` replaces `sys.stderr`.
_stderr: LineWriter | None = None

#: Libraries that log too much at level info; their warnings are logged.
_QUIET_LIBRARIES = ("alembic", "dramatiq", "transitions", "urllib3", "uvicorn")


def configure(*, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends all logs of the process to the stream (default: stderr): JSON lines, or coloured text if it is a terminal.

    level: of the `logging` module. It leaves no other handler on the root logger; uvicorn needs `log_config=None`. Without a
    stream, everything else that is written to `sys.stderr` goes the same way: nothing in the process waits for stderr's reader, or
    fails with it.
    """
    is_terminal = _is_terminal(stream or sys.stderr)
    put = put_to_stream(stream) if stream is not None else _take_over_stderr(is_terminal=is_terminal)
    every: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_logger_name,
        _add_timestamp,
    ]
    handler = _LibraryHandler(put)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*every, _rename_library_message],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_make_renderers(is_terminal)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for library in _QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    # Our own lines do not go through `logging`: it took two thirds of a line's 35 us, and workers write one for each move.
    structlog.configure(
        processors=[_RenderPipeline([*every, *_make_renderers(is_terminal)])],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _LineLogger(name, put),
    )


def dropped_lines() -> int:
    """Returns how many lines were dropped because they could not be written."""
    return _stderr.dropped if _stderr is not None else 0


def is_stuck() -> bool:
    """Returns whether lines have waited for some seconds to be written."""
    return _stderr is not None and _stderr.is_stuck


def flush(timeout_s: float = _FLUSH_S) -> None:
    """Waits until all lines are written, but at most `timeout_s`."""
    if _stderr is not None:
        _stderr.flush(timeout_s)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _take_over_stderr(*, is_terminal: bool) -> PutLine:
    """Lets a thread write what goes to stderr, and logs what Python would print about threads that end."""
    global _stderr
    if sys.stderr is None:  # it was closed before the process began; another file may have its number now
        return lambda line: None
    if _stderr is None:
        _stderr = LineWriter(os.dup(sys.stderr.fileno()), _dropped_lines_notice)
        sys.stderr = LineStream(_stderr.put, sys.stderr, is_terminal=is_terminal)
        atexit.register(_stderr.close, _FLUSH_S)
        threading.excepthook = _log_ended_thread
        sys.unraisablehook = _log_unraisable
    return _stderr.put


def _dropped_lines_notice(lines: int) -> str:
    """Returns the line that reports dropped lines. It needs no `structlog`: it must work when nothing else does."""
    event = {"lines": lines, "event": "log.lines_dropped", "level": "warning", "logger": __name__}
    return json.dumps(event | {"timestamp": clock.to_rfc3339(clock.now_ms())})


def _log_ended_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        name = ended.thread.name if ended.thread is not None else None
        log.error("thread.failed", part=name, exc_info=ended.exc_value)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    error = unraisable.exc_value or unraisable.exc_type()
    logging.getLogger("python").error(
        "%s: %s", unraisable.err_msg or "exception ignored in", type(unraisable.object), exc_info=error
    )


class _LibraryHandler(logging.Handler):
    """Handles the records of libraries."""

    def __init__(self, put: PutLine) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(self.format(record))
        except Exception as error:  # noqa: BLE001 - a thread that logs must not fail
            self._put(_unrenderable_line(record.levelname.lower(), record.name, "library.message", error))


class _RenderPipeline:
    """Runs all processors as one. An event that cannot be rendered is logged with its name only: logging must not fail."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        self._processors = processors

    def __call__(self, source: WrappedLogger, method: str, event: EventDict) -> str:
        name = event.get("event")
        try:
            result: Any = event
            for processor in self._processors:
                result = processor(source, method, result)
            return str(result)
        except structlog.DropEvent:
            raise
        except Exception as error:  # noqa: BLE001 - a thread that logs must not fail
            return _unrenderable_line(method, source.name, str(name), error)


def _unrenderable_line(level: str, name: str, event: str, error: Exception) -> str:
    return json.dumps({"event": event, "level": level, "logger": name, "unrenderable": type(error).__name__})


class _LineLogger:
    """Passes complete lines to `put`. name: the module that logs."""

    def __init__(self, name: str, put: PutLine) -> None:
        self.name = name
        self.msg = put
        self.debug = self.info = self.warning = self.error = self.exception = self.critical = put


def logger(name: str) -> FilteringBoundLogger:
    """Returns a logger for a module, as in `log = logger(__name__)`; then `log.info("callback.recorded", vendor=...)`."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


log = logger(__name__)


def events_table() -> str:
    """Returns EVENTS as a Markdown table."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in sorted(EVENTS.items())]
    return "\n".join(["| event | meaning |", "|---|---|", *rows]) + "\n"


def _make_renderers(is_terminal: bool) -> list[Processor]:
    if is_terminal:
        # The default formatter prints local variables, and with them secrets.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]


def _add_timestamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = clock.to_rfc3339(clock.now_ms())
    return event


def _add_logger_name(source: WrappedLogger, _: str, event: EventDict) -> EventDict:
    record: Any = event.get("_record")
    event["logger"] = record.name if record is not None else source.name
    return event


def _rename_library_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["message"] = event["event"]
    event["event"] = "library.message"
    return event
