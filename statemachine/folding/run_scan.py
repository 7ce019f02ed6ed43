"""First pass over the facts of a run: collects what can be found by looking at each fact once."""

from collections.abc import Callable, Mapping

from statemachine.facts import Fact, FactKind, FilesDelivered
from statemachine.folding.runs import Run

#: Code of a STOP_ASKED fact that gives up an ambiguous start: the stop makes sure that nothing runs if that start did happen.
GIVE_UP_CODE = "give_up"


class RunScan:
    """The results of one pass over the sorted facts of a run. One pass takes a third of the time of one pass per question."""

    def __init__(self, run: Run) -> None:
        #: The fact that counts as the capture's end: the one of the smallest rank, then the earliest.
        self.capture_end: Fact | None = None
        #: When the capture ended first, ms.
        self.capture_end_at: int | None = None
        #: The first stop request.
        self.stop_asked: Fact | None = None
        #: When the vendor accepted our stop calls, ms.
        self.stops_accepted: list[int] = []
        self.stop_failed_at: int | None = None
        self.upload_seen = False
        self.scheduled_at: int | None = None
        self.room_id: str | None = None
        self.robot: str | None = None
        #: When the vendor first reported an end (of the task, of its capture, or of the delivery of its files), ms.
        self.first_end_at: int | None = None
        self.vendor_ends: list[Fact] = []
        #: When the vendor accepted the start, or first showed a sign of life, ms.
        self.accepted_at: int | None = None
        #: Facts that the vendor accepted our start.
        self.accepted: list[Fact] = []
        self.first_sign_at: int | None = None
        #: When the newest fact from the vendor was received, ms.
        self.heard_at: int | None = None
        #: Facts that may end the delivery of files.
        self.deliveries: list[Fact] = []
        self.has_files = False
        for fact in run.facts:
            self._scan_fact(fact)
        self.gave_up = self.stop_asked is not None and self.stop_asked.code == GIVE_UP_CODE
        self.stop_accepted_at = min(self.stops_accepted, default=None)

    def _scan_fact(self, fact: Fact) -> None:
        recorder = _RECORDERS.get(fact.kind)
        if recorder is not None:
            recorder(self, fact)
        if fact.shows_life:
            self._record_life_sign(fact)
        if fact.delivery is not None:
            self._record_delivery(fact)
        if fact.files or fact.file_state is not None:
            self.has_files = True
        if fact.from_vendor and (self.heard_at is None or fact.received_at > self.heard_at):
            self.heard_at = fact.received_at
        if self.scheduled_at is None:
            self.scheduled_at = fact.scheduled_at
        if self.room_id is None:
            self.room_id = fact.room_id
        if self.robot is None:
            self.robot = fact.robot

    def _record_life_sign(self, fact: Fact) -> None:
        if self.first_sign_at is None:
            self.first_sign_at = fact.at
        if self.accepted_at is None:
            self.accepted_at = fact.at

    def _record_start_accepted(self, fact: Fact) -> None:
        self.accepted.append(fact)
        if self.accepted_at is None:
            self.accepted_at = fact.at

    def _record_capture_end(self, fact: Fact) -> None:
        if self.capture_end is None or ending_rank(fact) < ending_rank(self.capture_end):
            self.capture_end = fact
        if self.capture_end_at is None:
            self.capture_end_at = fact.at
        self._record_end_time(fact)

    def _record_end(self, fact: Fact) -> None:
        self.vendor_ends.append(fact)
        self._record_end_time(fact)

    def _record_end_time(self, fact: Fact) -> None:
        if self.first_end_at is None:
            self.first_end_at = fact.at

    def _record_delivery(self, fact: Fact) -> None:
        self.deliveries.append(fact)
        if fact.delivery is FilesDelivered.OVER:
            self._record_end_time(fact)

    def _record_upload(self, fact: Fact) -> None:
        self.upload_seen = True

    def _record_stop_request(self, fact: Fact) -> None:
        if self.stop_asked is None:
            self.stop_asked = fact

    def _record_stop_accepted(self, fact: Fact) -> None:
        self.stops_accepted.append(fact.at)

    def _record_stop_failure(self, fact: Fact) -> None:
        self.stop_failed_at = fact.at


def ending_rank(fact: Fact) -> tuple[int, tuple[int, int, str]]:
    """Returns the sort key of ends of one run: the smallest counts."""
    return (fact.outcome.rank if fact.outcome else 9, fact.order)


_RECORDERS: Mapping[FactKind, Callable[[RunScan, Fact], None]] = {
    FactKind.ACCEPTED: RunScan._record_start_accepted,
    FactKind.CAPTURE_END: RunScan._record_capture_end,
    FactKind.END: RunScan._record_end,
    FactKind.UPLOAD: RunScan._record_upload,
    FactKind.STOP_ASKED: RunScan._record_stop_request,
    FactKind.STOP_ACCEPTED: RunScan._record_stop_accepted,
    FactKind.STOP_FAILED: RunScan._record_stop_failure,
}
