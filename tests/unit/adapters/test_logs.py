import ast
import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.logs import EVENTS, configure, events_table, logger
from adapters.settings import Secret

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGER = re.compile(r"(.*[._])?log(ger)?(\(.*\)|\.bind\(.*\))?")
NAME = re.compile(r"[a-z_]+(\.[a-z_]+)+")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    configure(stream=stream)
    return stream


def only_line(out: io.StringIO) -> Any:
    (line,) = out.getvalue().splitlines()
    return json.loads(line)


def test_an_event_is_one_json_line_with_its_fields(out: io.StringIO) -> None:
    logger("callbacks.door").info("callback.recorded", vendor="acme", rows=3)

    line = only_line(out)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "event": "callback.recorded",
        "level": "info",
        "logger": "callbacks.door",
        "vendor": "acme",
        "rows": 3,
    }


def test_a_librarys_message_has_the_same_form(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("Started %s", "it")

    line = only_line(out)

    assert (line["event"], line["level"], line["logger"]) == ("library.message", "warning", "uvicorn.error")
    assert line["message"] == "Started it"
    assert line["timestamp"].endswith("Z")


def test_a_warning_has_the_same_form(out: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    assert only_line(out)["event"] == "library.message"
    assert "old ways" in only_line(out)["message"]


def test_an_exception_is_a_field_of_its_line(out: io.StringIO) -> None:
    try:
        raise OSError("no disk")
    except OSError:
        logger("x").exception("inbox.failed")

    assert only_line(out)["exception"].endswith("OSError: no disk")


def test_a_secret_stays_hidden(out: io.StringIO) -> None:
    logger("x").info("server.started", token=Secret("sesame"), raw=b"\xff", text="\ud800")

    assert only_line(out)["token"] == "Secret('***')"
    assert "sesame" not in out.getvalue()


def test_what_is_below_the_level_is_dropped(out: io.StringIO) -> None:
    logger("x").debug("server.started")
    logging.getLogger("sqlalchemy.engine").debug("SELECT 1")

    assert out.getvalue() == ""


def test_a_terminal_gets_text() -> None:
    terminal = Terminal()
    configure(stream=terminal)

    logger("x").info("server.started", port=8080)

    assert "server.started" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_a_traceback_on_a_terminal_shows_no_variables() -> None:
    terminal = Terminal()
    configure(stream=terminal)
    key = "".join(["ses", "ame"])

    try:
        raise OSError(len(key))
    except OSError:
        logger("x").exception("inbox.failed")

    assert "OSError: 6" in terminal.getvalue()
    assert "sesame" not in terminal.getvalue()


TROUBLE = """
import logging, sys, threading, warnings
from adapters.logs import configure, logger
configure()
log = logger("x")

class Unshowable:
    def __repr__(self):
        raise ValueError("no words for it")

class Failing:
    def __del__(self):
        raise ValueError("in the end")

log.info("server.started", port=Unshowable())
logging.getLogger("y").warning("%d", "no number")
thread = threading.Thread(target=lambda: 1 / 0, name="counting")
thread.start()
thread.join()
Failing()
warnings.warn("old ways", DeprecationWarning)
print("as it is", file=sys.stderr)
raise SystemExit(Unshowable.nothing)
"""


def test_nothing_that_goes_wrong_while_it_is_told_is_lost_or_raised() -> None:
    words = [sys.executable, "-W", "always", "-c", TROUBLE]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    events = [json.loads(line) if line.startswith("{") else line for line in ended.stderr.splitlines()]
    assert ended.returncode == 1
    assert events[0] == {"event": "server.started", "level": "info", "logger": "x", "unrenderable": "ValueError"}
    assert events[1] == {"event": "library.message", "level": "warning", "logger": "y", "unrenderable": "TypeError"}
    assert (events[2]["event"], events[2]["part"]) == ("thread.failed", "counting")
    assert events[2]["exception"].endswith("ZeroDivisionError: division by zero")
    assert "in the end" in events[3]["exception"]
    assert "old ways" in events[4]["message"]
    assert events[5:7] == ["as it is", "Traceback (most recent call last):"]
    assert events[-1].startswith("AttributeError")


def sources() -> list[Path]:
    rooms = [ROOT / room for room in ("adapters", "callbacks", "statemachine", "workers")]
    return [path for room in rooms for path in room.rglob("*.py")] + [ROOT / "serving.py", ROOT / "tally.py"]


def is_log_call(node: ast.AST) -> bool:
    """Returns whether it is a call like log.info("x.y", ...), self._log.info(...) or log.bind(...).info(...)."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
        return False
    return LOGGER.fullmatch(ast.unparse(node.func.value)) is not None


def logged(path: Path) -> Iterator[str]:
    """Returns the event names that a file logs; both, if one of two is chosen."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and is_log_call(node):
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize(
    ("call", "is_one"),
    [
        ('log.info("a.b")', True),
        ('self._log.warning("a.b", x=1)', True),
        ('log.bind(x=1).info("a.b")', True),
        ('logger(__name__).error("a.b")', True),
        ('parser.error("bad flag")', False),
        ('catalog.info("x")', False),
    ],
)
def test_log_calls_are_found(call: str, is_one: bool) -> None:
    (statement,) = ast.parse(call).body

    assert isinstance(statement, ast.Expr)
    assert is_log_call(statement.value) is is_one


def test_each_event_that_is_logged_has_a_meaning() -> None:
    unknown = {f"{path.relative_to(ROOT)}: {name}" for path in sources() for name in logged(path) if name not in EVENTS}

    assert not unknown, "log an event's name, not a sentence, and add it to adapters.logs.EVENTS"


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_with_a_meaning_is_logged(name: str) -> None:
    assert NAME.fullmatch(name)
    own = [path for path in sources() if path != ROOT / "adapters/logs.py"]
    assert name in ("library.message", "log.lines_dropped") or any(f'"{name}"' in path.read_text(encoding="utf-8") for path in own)


def test_the_table_lists_each_event_once() -> None:
    assert [line.split("`")[1] for line in events_table().splitlines()[2:]] == sorted(EVENTS)
