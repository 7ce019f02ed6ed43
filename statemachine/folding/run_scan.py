"""What is looked for among all facts of a run before they are taken one by one."""

from collections.abc import Callable, Mapping

from statemachine.facts import Delivery, Fact, FactKind
from statemachine.folding.runs import Run

#: The code of a STOP_ASKED that only makes sure that a start that may have happened runs no more.
GIVE_UP = "give_up"


class Survey:
    """All that is looked for in one pass over the facts, which stand in order: a pass for each takes three times as long."""

    def __init__(self, run: Run) -> None:
        #: The capture's end that speaks, by rank, then the earliest.
        self.capture: Fact | None = None
        self.captured_at: int | None = None
        self.stop_asked: Fact | None = None
        self.stops_accepted: list[int] = []
        self.stop_failed_at: int | None = None
        self.upload_heard = False
        self.scheduled_at: int | None = None
        self.room_id: str | None = None
        self.robot: str | None = None
        #: When an end was told first, be it that of the capture.
        self.told_at: int | None = None
        self.told_ends: list[Fact] = []
        #: When the vendor accepted it, or first showed that it lives.
        self.accepted_at: int | None = None
        self.accepted: list[Fact] = []
        self.first_sign_at: int | None = None
        #: When we last heard anything of the vendor.
        self.heard_at: int | None = None
        #: What may say that delivery is over.
        self.deliveries: list[Fact] = []
        self.tells_files = False
        for fact in run.facts:
            self._look_at(fact)
        self.gave_up = self.stop_asked is not None and self.stop_asked.code == GIVE_UP
        self.stop_accepted_at = min(self.stops_accepted, default=None)

    def _look_at(self, fact: Fact) -> None:
        note = _NOTES.get(fact.kind)
        if note is not None:
            note(self, fact)
        if fact.shows_life:
            self._note_sign(fact)
        if fact.delivery is not None:
            self._note_delivery(fact)
        if fact.files or fact.file_state is not None:
            self.tells_files = True
        if fact.from_vendor and (self.heard_at is None or fact.received_at > self.heard_at):
            self.heard_at = fact.received_at
        if self.scheduled_at is None:
            self.scheduled_at = fact.scheduled_at
        if self.room_id is None:
            self.room_id = fact.room_id
        if self.robot is None:
            self.robot = fact.robot

    def _note_sign(self, fact: Fact) -> None:
        if self.first_sign_at is None:
            self.first_sign_at = fact.at
        if self.accepted_at is None:
            self.accepted_at = fact.at

    def _note_accepted(self, fact: Fact) -> None:
        self.accepted.append(fact)
        if self.accepted_at is None:
            self.accepted_at = fact.at

    def _note_capture(self, fact: Fact) -> None:
        if self.capture is None or by_rank(fact) < by_rank(self.capture):
            self.capture = fact
        if self.captured_at is None:
            self.captured_at = fact.at
        self._note_told(fact)

    def _note_end(self, fact: Fact) -> None:
        self.told_ends.append(fact)
        self._note_told(fact)

    def _note_told(self, fact: Fact) -> None:
        if self.told_at is None:
            self.told_at = fact.at

    def _note_delivery(self, fact: Fact) -> None:
        self.deliveries.append(fact)
        if fact.delivery is Delivery.OVER:
            self._note_told(fact)

    def _note_upload(self, fact: Fact) -> None:
        self.upload_heard = True

    def _note_stop_asked(self, fact: Fact) -> None:
        if self.stop_asked is None:
            self.stop_asked = fact

    def _note_stop_accepted(self, fact: Fact) -> None:
        self.stops_accepted.append(fact.at)

    def _note_stop_failed(self, fact: Fact) -> None:
        self.stop_failed_at = fact.at


def by_rank(fact: Fact) -> tuple[int, tuple[int, int, str]]:
    return (fact.outcome.rank if fact.outcome else 9, fact.order)


_NOTES: Mapping[FactKind, Callable[[Survey, Fact], None]] = {
    FactKind.ACCEPTED: Survey._note_accepted,
    FactKind.CAPTURE_END: Survey._note_capture,
    FactKind.END: Survey._note_end,
    FactKind.UPLOAD: Survey._note_upload,
    FactKind.STOP_ASKED: Survey._note_stop_asked,
    FactKind.STOP_ACCEPTED: Survey._note_stop_accepted,
    FactKind.STOP_FAILED: Survey._note_stop_failed,
}
