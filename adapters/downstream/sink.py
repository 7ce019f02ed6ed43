"""What every sink is: a way by which events leave the house. In no target's words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from adapters.text import FieldProblem, storable

#: So many characters of an answer are kept, and of what went wrong.
BEGINNING_LIMIT, DETAIL_LIMIT = 512, 200
_NAME_SHOWN = 100


class Failure(StrEnum):
    """Why a message was not taken. A sink may have further words of its own."""

    #: The target is where nobody may be sent; nothing was.
    REFUSED_ADDRESS = "refused_address"
    #: There was no connection: no name, nobody there, no TLS, or not in time. Nothing was sent.
    NOT_CONNECTED = "not_connected"
    #: No whole answer came in time; it may have been taken.
    TIMEOUT = "timeout"
    #: The connection broke, or what came is no answer; it may have been taken.
    CUT_OFF = "cut_off"
    #: The target points elsewhere; nobody goes there.
    REDIRECT = "redirect"
    #: The target answered that it did not take it, by its status.
    STATUS = "status"
    #: The target answered that it did not take it, in words: they stand in `detail`.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    #: The CloudEvent's id: the same at every attempt.
    id: str
    #: The CloudEvent as JSON.
    body: bytes = field(repr=False)
    #: When this attempt is made, ms.
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an attempt went. Its texts can be stored anywhere and shown on any terminal."""

    ok: bool
    #: The HTTP status, where there was one.
    status: int | None = None
    #: Why not, in one stable word: a `Failure`, or a word of the sink's own.
    error: str | None = None
    #: What went wrong, for people.
    detail: str = ""
    #: How the answer begins.
    beginning: str = field(default="", repr=False)
    #: The target's hint, s.
    retry_after_s: float | None = None
    #: The target wants no more messages, ever.
    gone: bool = False


class Sink(Protocol):
    """A way out. `sink` is a subscription's JSON object of this name, as `read` gave it."""

    #: The `type` of its sinks.
    type: ClassVar[str]
    #: Whether its subscriptions have secrets.
    signed: ClassVar[bool]
    #: The JSON Schema of its sinks.
    SCHEMA: ClassVar[Mapping[str, Any]]

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        """What somebody gave as a sink, as it is to be stored, and what is wrong with it: then it is not. May take a while."""

    def shown(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """The sink as a reader sees it. keys: whether the reader may see what opens the target."""

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> Answer:
        """Sends it, once, and waits for the answer. Raises nothing; many threads may send at once."""

    def close(self) -> None:
        """Closes what it has open."""


def unknown_members(given: Mapping[str, Any], known: Collection[str]) -> list[FieldProblem]:
    """A problem for each member that no sink of this type has."""
    message = f"is not a member of this sink; it has {', '.join(known)}"
    return [FieldProblem(field=f"sink.{storable(name)[:_NAME_SHOWN]}", message=message) for name in given if name not in known]


def beginning(body: bytes) -> str:
    """How an answer begins, fit to be stored and shown."""
    return harmless(body[: 4 * BEGINNING_LIMIT].decode(errors="replace"))[:BEGINNING_LIMIT]


def harmless(text: str) -> str:
    """The text with a blank for each character that does something instead of being seen."""
    return "".join(character if character.isprintable() else " " for character in text)
