"""Defines the errors of the API as RFC 9457 problems. A class has a status and a stable name; its docstring is the title."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from adapters.ledger import LedgerUnavailableError
from adapters.logs import logger
from adapters.text import FieldProblem
from callbacks.desk.http.responses import json_response

log = logger(__name__)

#: Wrong fields that are listed at most; of further ones only the number, so that an answer does not grow with the request.
MAX_ERRORS = 100
#: Characters of a field's name.
_FIELD_SHOWN = 100
_TYPE = "urn:tallylight:problem:"


class Problem(Exception):
    """The request cannot be answered."""

    status: ClassVar[int]
    name: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        *,
        location: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Makes a problem. location: the path of the conflicting resource. more: further members of the answer."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.location = location
        self.more = more

    def header_fields(self) -> dict[str, str]:
        """Returns the header fields of the answer."""
        return {**self.headers, **({"Location": self.location} if self.location is not None else {})}

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").removesuffix(".")


class Malformed(Problem):
    """The body cannot be read."""

    status, name = 400, "malformed"


class Unauthenticated(Problem):
    """Not authenticated."""

    status, name = 401, "unauthenticated"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="tallylight"'}


class NotLocal(Unauthenticated):
    """The desk is open to this machine only."""

    name = "not_local"


class TooManyWrongTokens(Problem):
    """Too many wrong tokens came from this address."""

    status, name = 429, "too_many_wrong_tokens"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self._retry_after_s = retry_after_s

    def header_fields(self) -> dict[str, str]:
        return {**super().header_fields(), "Retry-After": str(self._retry_after_s)}


class Forbidden(Problem):
    """The role of this token is too low."""

    status, name = 403, "forbidden"


class NotFound(Problem):
    """Not found."""

    status, name = 404, "not_found"


class AlreadyLive(Problem):
    """The task is live already."""

    status, name = 409, "already_live"


class RobotInUse(Problem):
    """The robot is in the room already."""

    status, name = 409, "robot_in_use"


class AlreadyEnded(Problem):
    """The task has ended already."""

    status, name = 409, "already_ended"


class NoAccount(Problem):
    """The app has no account."""

    status, name = 409, "no_account"


class NotUpdatable(Problem):
    """The task cannot be updated."""

    status, name = 409, "not_updatable"


class NotStartedYet(Problem):
    """The task is not started yet."""

    status, name = 409, "not_started_yet"


class NothingPending(Problem):
    """No call waits."""

    status, name = 409, "nothing_pending"


class NotSigned(Problem):
    """The sink is not signed."""

    status, name = 409, "not_signed"


class NotActive(Problem):
    """The subscription is not active."""

    status, name = 409, "not_active"


class AlreadyRequeued(Problem):
    """The delivery is on its way again already."""

    status, name = 409, "already_requeued"


class TooManyReplays(Problem):
    """Too many replays are under way."""

    status, name = 409, "too_many_replays"


class UriTooLong(Problem):
    """The query string is too long."""

    status, name = 414, "uri_too_long"


class TooLarge(Problem):
    """The body is too large."""

    status, name = 413, "too_large"


class Invalid(Problem):
    """The input is not valid."""

    status, name = 422, "invalid"


class TooManyQueries(Problem):
    """This token has too many requests at once."""

    status, name = 429, "too_many_queries"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class QueryTooLong(Problem):
    """The query took too long."""

    status, name = 503, "query_too_long"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class NotReady(Problem):
    """The service cannot serve yet."""

    status, name = 503, "not_ready"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class TooManyStreams(Problem):
    """Too many streams are open."""

    status, name = 503, "too_many_streams"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class Unavailable(Problem):
    """The ledger cannot be reached."""

    status, name = 503, "ledger_unavailable"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class Failed(Problem):
    """The service failed."""

    status, name = 500, "internal"


def exception_handlers() -> dict[Any, ExceptionHandler]:
    """Returns Starlette's exception handlers: every error is answered as a problem, also those of the framework."""
    return {
        Problem: _problem_answer,
        HTTPException: _framework_problem,
        LedgerUnavailableError: _ledger_unavailable,
        Exception: _internal_error,
    }


def problem_response(
    status: int,
    name: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Response:
    content: dict[str, Any] = {"type": f"{_TYPE}{name}", "title": title, "status": status, "detail": detail, **more}
    if errors:
        content["errors"] = [{"field": error.field[:_FIELD_SHOWN], "message": error.message} for error in errors[:MAX_ERRORS]]
    if len(errors) > MAX_ERRORS:
        content["errors_left_out"] = len(errors) - MAX_ERRORS
    return json_response(content, status=status, headers=headers, media_type="application/problem+json")


async def _problem_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(
        error.status,
        error.name,
        error.title(),
        error.detail,
        errors=error.errors,
        headers=error.header_fields(),
        more=error.more,
    )


async def _framework_problem(request: Request, error: Exception) -> Response:
    """Answers Starlette's own errors: no such path, wrong method, too large."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status < 400:
        return Response(status_code=status, headers=error.headers)
    detail = {
        404: "there is nothing at this path; /docs lists all paths",
        405: f"this path does not accept {request.method}",
        413: "the body is too large",
    }.get(status, error.detail)
    return problem_response(status, status.name.lower(), status.phrase, detail, headers=error.headers)


async def _ledger_unavailable(request: Request, error: Exception) -> Response:
    log.warning("desk.unavailable", path=request.url.path, error=str(error))
    return await _problem_answer(request, Unavailable("the ledger cannot be read or written now; try again"))


async def _internal_error(request: Request, error: Exception) -> Response:
    """Answers 500 for a bug: the log has the error, the answer shows nothing of it."""
    log.error("desk.failed", method=request.method, path=request.url.path, exc_info=error)
    return await _problem_answer(request, Failed("this is a bug, and it is logged as desk.failed"))
