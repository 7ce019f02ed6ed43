"""What the facts of a run, taken one by one, come to: how it lives, its outputs and files, and when."""

from collections.abc import Sequence
from dataclasses import replace

from statemachine.facts import DELIVERIES, Delivery, Fact, FactKind, File, Output, Rules
from statemachine.fast_dataclasses import changed
from statemachine.folding.output_limits import MOST_FILES, MOST_OUTPUTS
from statemachine.folding.run_scan import Survey
from statemachine.folding.runs import Run
from statemachine.states import FileState, OutputState, Reason, State

#: Our clock may be ahead of the vendor's by this much, ms, where "did we ask before it ended?" is decided.
_SKEW_MS = 5_000


class Course(Survey):
    """What the facts of a run come to; they stand in order."""

    def __init__(self, run: Run, rules: Rules) -> None:
        super().__init__(run)
        self.run = run
        self.rules = rules
        self.live: State | None = None
        self.running_at: int | None = None
        self.idle_since: int | None = None
        self.interrupted_since: int | None = None
        self.inferred: Fact | None = None
        self.revoked: Fact | None = None
        self.revoked_at: int | None = None
        #: Signs of life after a told end; none of a run that a newer one followed, to which they may belong.
        self.zombie_since: int | None = None
        self.zombie_at: int | None = None
        self._outputs: dict[str, OutputState] = {}
        self._from_failed: set[str] = set()
        self._outputs_ended_at = 0
        self._only_output: Output | None = None
        for fact in run.facts:
            self._take(fact)
        self.files, self.files_truncated = files_of(run.facts) if self.tells_files else ((), False)

    def _take(self, fact: Fact) -> None:
        shows_life = fact.shows_life
        if (shows_life or fact.kind is FactKind.OUTPUT) and self._told_before(fact):
            self._note_zombie(fact)
            return
        if fact.kind is FactKind.INFERRED:
            self._take_conclusion(fact)
        elif shows_life:
            self._take_life(fact)
        if fact.output is not None:
            self._take_output(fact, fact.output)

    def _take_conclusion(self, fact: Fact) -> None:
        """The end that we inferred: of several the last word.

        A capture's end that was not known then takes it back; so does the vendor's answer that it started, if that is news.
        """
        taken_back = self.capture is not None and self.capture.key != fact.knew
        taken_back |= any(yes.received_at > fact.received_at and yes.at >= fact.at for yes in self.accepted)
        if not taken_back and (self.inferred is None or fact.received_at >= self.inferred.received_at):
            self.inferred = fact

    def _note_zombie(self, fact: Fact) -> None:
        """An output that goes away after the end is no sign of life, and opens nothing again."""
        if fact.shows_life and not self.run.has_successor:
            self.zombie_since = self.zombie_since or fact.at
            self.zombie_at = fact.at

    def _told_before(self, fact: Fact) -> bool:
        """An end that the vendor told stands before this; outputs that all ended after an accepted stop tell one."""
        if self.told_at is not None:
            return fact.at > self.told_at
        return (
            self.all_outputs_ended()
            and self.stop_accepted_at is not None
            and self.stop_accepted_at <= self._outputs_ended_at + _SKEW_MS
        )

    def _take_life(self, fact: Fact) -> None:
        if self.inferred is not None and not self.run.has_successor:
            self.revoked, self.revoked_at, self.inferred = self.inferred, fact.at, None
        self._move(fact)

    def _move(self, fact: Fact) -> None:
        repeated = fact.kind is FactKind.START and not (fact.media or fact.idle) and self.live is not None
        if fact.kind is FactKind.OUTPUT or repeated:
            return
        moved = self._moved_to(fact)
        if fact.idle:
            self.idle_since = self.idle_since or fact.at
        elif fact.kind is not FactKind.START or fact.media:
            self.idle_since = None
        reconnects = moved is State.INTERRUPTED and not fact.idle
        self.interrupted_since = (self.interrupted_since or fact.at) if reconnects else None
        self.live = moved

    def _moved_to(self, fact: Fact) -> State:
        if fact.kind is FactKind.MEDIA or fact.media:
            self.running_at = self.running_at or fact.at
            return State.RUNNING
        if fact.kind is FactKind.INTERRUPTED:
            return State.INTERRUPTED
        return State.ACCEPTED if self.running_at is None else State.INTERRUPTED

    def _take_output(self, fact: Fact, output: Output) -> None:
        if fact.kind is not FactKind.OUTPUT:
            known = self._only_output
            url = output.url or (known.url if known else None)
            # A remark that names another url does not say that media flows there, a repeated start not that it stopped.
            state = output.state
            if fact.kind in (FactKind.NOTE, FactKind.START):
                state = known.state if known else OutputState.CONNECTING
            self._only_output = Output(url=url, state=state)
            return
        url = output.url or ""
        before = self._outputs.get(url)
        if output.state is OutputState.FAILED:
            self._from_failed.add(url)
        elif output.state is not OutputState.ENDED or before not in (OutputState.FAILED, OutputState.ENDED):
            self._from_failed.discard(url)
        self._outputs.pop(url, None)  # the newest stands last
        self._outputs[url] = output.state
        if len(self._outputs) > MOST_OUTPUTS:
            self._forget_output()
        self._outputs_ended_at = fact.at
        if output.state is OutputState.RUNNING:
            self.running_at = self.running_at or fact.at
        self._note_interruption(fact)

    def _forget_output(self) -> None:
        """Forgets the output that was told of longest ago; one that has ended goes before one that has not."""
        ended = (url for url, state in self._outputs.items() if state is OutputState.ENDED)
        url = next(ended, next(iter(self._outputs)))
        del self._outputs[url]
        self._from_failed.discard(url)

    def _note_interruption(self, fact: Fact) -> None:
        interrupted = self._by_outputs() is State.INTERRUPTED
        self.interrupted_since = (self.interrupted_since or fact.at) if interrupted else None

    # How it stands while nothing ended it.

    def standing(self) -> tuple[State, Reason | None, bool]:
        return self._living(), None, False

    def _living(self) -> State:
        if self.capture is not None or self.inferred is not None:
            return State.FINISHING
        if self.stop_asked is not None:
            return State.STOPPING
        if self._outputs:
            return self._by_outputs()
        if self.live is not None:
            return self.live
        facts = self.run.facts
        if self.accepted:
            return State.RUNNING if any(fact.recording for fact in facts) else State.ACCEPTED
        if all(fact.kind is FactKind.INTENT for fact in facts):
            return State.REQUESTED
        return self._by_files()

    def _by_files(self) -> State:
        files = [fact for fact in self.run.facts if fact.kind in DELIVERIES and not fact.remark]
        if not files:
            return State.ACCEPTED
        return State.RUNNING if all(fact.recording for fact in files) else State.FINISHING

    def _by_outputs(self) -> State:
        states = set(self._outputs.values())
        if OutputState.RUNNING in states:
            return State.RUNNING
        if OutputState.CONNECTING in states and self.running_at is None:
            return State.ACCEPTED
        return State.INTERRUPTED

    def all_outputs_ended(self) -> bool:
        return bool(self._outputs) and set(self._outputs.values()) == {OutputState.ENDED}

    def all_outputs_failed(self) -> bool:
        return self._from_failed == set(self._outputs)

    def last_failure(self) -> Fact | None:
        """The newest fact that says why an output failed."""
        failed = (f for f in self.run.facts if f.output is not None and f.output.state is OutputState.FAILED)
        return max(failed, key=lambda fact: fact.order, default=None)

    def outputs(self) -> tuple[Output, ...]:
        if self._only_output is not None and self._only_output.url is not None:
            return (self._only_output,)
        return tuple(Output(url=url, state=state) for url, state in sorted(self._outputs.items()))

    def final_outputs(self) -> tuple[Output, ...]:
        """Of a vendor with one output per task: when the task ended, so did its output."""
        kept = (OutputState.FAILED, OutputState.ENDED)
        return tuple(o if o.state in kept else replace(o, state=OutputState.ENDED) for o in self.outputs())

    def started_at(self) -> int | None:
        if self.accepted:
            return max(self.accepted[0].at, self.scheduled_at or 0)
        if self.scheduled_at is not None:
            return self.scheduled_at
        signs = (self.first_sign_at, self.run.created_at)
        return min((at for at in signs if at is not None), default=None)

    def newest_telling(self) -> Fact | None:
        """The newest sign that moved the state, where it carries a code or a text."""
        if self.capture is not None:
            return self.capture
        newest_first = self.run.facts[::-1]
        moving = next((f for f in newest_first if f.shows_life or f.kind is FactKind.STOP_FAILED), None)
        return moving or next((f for f in newest_first if f.code is not None or f.message is not None), None)

    # Ends.

    def asked_before(self, at: int) -> bool:
        return self.stop_asked is not None and self.stop_asked.at <= at + _SKEW_MS

    def outlived(self, at: int) -> bool:
        start = self.started_at()
        if self.rules.life_s is None or start is None:
            return False
        return at - start >= (self.rules.life_s - self.rules.life_margin_s) * 1000

    def delivered_by(self) -> Fact | None:
        """The first fact with which delivery was over."""
        first = next((fact for fact in self.deliveries if self._is_over(fact)), None)
        if first is None:
            return None
        capture_known_later = first.delivery is Delivery.WITH_CAPTURE and self.capture and self.capture.at > first.at
        return self.capture if capture_known_later else first

    def _is_over(self, fact: Fact) -> bool:
        match fact.delivery:
            case Delivery.OVER:
                return True
            case Delivery.WITH_CAPTURE:
                return self.captured_at is not None
            case Delivery.SINCE_CAPTURE:
                return self.captured_at is not None and fact.at >= self.captured_at
        return False

    def finishing_since(self) -> int:
        if self.captured_at is not None:
            return self.captured_at
        if self.inferred is not None:
            return self.inferred.ended_at or self.inferred.at
        return min(fact.at for fact in self.run.facts if fact.kind in DELIVERIES)

    def only_files(self) -> bool:
        """Nothing but files is known of it, so it ended before anything followed."""
        return all(fact.kind in DELIVERIES for fact in self.run.facts) and self._by_files() is State.FINISHING

    def fallback(self) -> tuple[State, Reason]:
        speaks = self.capture or self.inferred
        if speaks is not None and speaks.outcome is not None:
            return speaks.outcome.state, speaks.outcome.reason
        return State.COMPLETED, Reason.FILES_UNKNOWN


def files_of(facts: Sequence[Fact]) -> tuple[tuple[File, ...], bool]:
    """All files of a run, in the order in which they were first told; what is told later overwrites. And whether there are more.

    How all files stand may be told before their names are.
    """
    files: dict[str, File] = {}
    of_all = FileState.KNOWN
    truncated = False
    for fact in facts:
        for file in fact.files:
            named = restated(file, of_all) if file.state is FileState.KNOWN else file
            known = files.get(file.identity)
            if known is None and len(files) >= MOST_FILES:
                truncated = True
            else:
                files[file.identity] = named if known is None else merged(known, named)
        if fact.file_state is not None:
            of_all = fact.file_state
            files = {name: restated(file, of_all) for name, file in files.items()}
    return tuple(files.values()), truncated


def merged(known: File, news: File) -> File:
    """To be named once more says nothing about where a file lies."""
    told = {name: value for name in File.__slots__ if (value := getattr(news, name)) is not None}
    if news.state is FileState.KNOWN:
        del told["state"]
    return changed(known, **told)


def restated(file: File, state: FileState) -> File:
    return file if file.state in (FileState.FAILED, state) else changed(file, state=state)
