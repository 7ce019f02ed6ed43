"""The protocol of sinks: the ways by which events leave Tallylight. In no target's terms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from adapters.text import FieldProblem, storable

#: Characters that are kept of a target's answer.
EXCERPT_LIMIT = 512
#: Characters that are kept of an error's detail.
DETAIL_LIMIT = 200
#: Characters that are shown of an unknown member's name.
_NAME_LIMIT = 100


class Failure(StrEnum):
    """Reasons why a message was not delivered. A sink may have further values of its own. Persisted and shown in the API."""

    #: The target's address may not be reached; nothing was sent.
    REFUSED_ADDRESS = "refused_address"
    #: There was no connection: the name does not resolve, no server listens, TLS failed, or it took too long. Nothing was sent.
    NOT_CONNECTED = "not_connected"
    #: No complete answer arrived in time; the target may have the message.
    TIMEOUT = "timeout"
    #: The connection broke, or the answer is malformed; the target may have the message.
    CUT_OFF = "cut_off"
    #: The target redirects; redirects are not followed.
    REDIRECT = "redirect"
    #: The target answered with an error status.
    STATUS = "status"
    #: The target answered with an error in text, which `detail` contains.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One attempt to send an event."""

    #: The CloudEvent's id: the same at every attempt.
    id: str
    #: The CloudEvent as JSON.
    body: bytes = field(repr=False)
    #: When this attempt is made, ms.
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """The result of one attempt. Its texts can be stored anywhere and shown on any terminal."""

    ok: bool
    #: The HTTP status, if there was one.
    status: int | None = None
    #: Stable code of the failure: a `Failure`, or a value of the sink's own.
    error: str | None = None
    #: What went wrong, for readers.
    detail: str = ""
    #: Beginning of the target's answer.
    excerpt: str = field(default="", repr=False)
    #: The target's Retry-After, s.
    retry_after_s: float | None = None
    #: The target wants no more messages.
    gone: bool = False


class Sink(Protocol):
    """Sends messages to targets of one type. `sink`: the member `sink` of a subscription, as returned by `parse`."""

    #: The `type` in a subscription's sink.
    type: ClassVar[str]
    #: Whether messages are signed, so that its subscriptions have secrets.
    signed: ClassVar[bool]
    #: The JSON Schema of a subscription's sink.
    SCHEMA: ClassVar[Mapping[str, Any]]

    def parse(self, requested: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        """Returns the requested sink in its stored form, and its problems; with problems it must not be stored. May be slow."""

    def masked(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """Returns the sink as a reader sees it. keys: whether the reader may see credentials of the target."""

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> SendResult:
        """Sends the message once and waits for the answer. Never raises; many threads may send at once."""

    def close(self) -> None:
        """Closes all connections."""


def unknown_members(requested: Mapping[str, Any], known: Collection[str]) -> list[FieldProblem]:
    """Returns a problem for each member that sinks of this type do not have."""
    message = f"is not a member of this sink; it has {', '.join(known)}"
    return [FieldProblem(field=f"sink.{storable(name)[:_NAME_LIMIT]}", message=message) for name in requested if name not in known]


def response_excerpt(body: bytes) -> str:
    """Returns the beginning of an answer as text that can be stored and shown."""
    return printable(body[: 4 * EXCERPT_LIMIT].decode(errors="replace"))[:EXCERPT_LIMIT]


def printable(text: str) -> str:
    """Returns the text with a blank for each control character."""
    return "".join(character if character.isprintable() else " " for character in text)
