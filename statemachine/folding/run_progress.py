"""Second pass over the facts of a run: applies them one by one to the run's state, outputs, files and times."""

from collections.abc import Sequence
from dataclasses import replace

from statemachine.facts import FILE_KINDS, Fact, FactKind, File, FilesDelivered, Output
from statemachine.fast_dataclasses import fast_replace
from statemachine.folding.output_limits import MAX_FILES, MAX_OUTPUTS
from statemachine.folding.run_scan import RunScan
from statemachine.folding.runs import Run
from statemachine.rules import CLOCK_SKEW_MS, Rules
from statemachine.states import FileState, OutputState, Reason, State


class RunProgress(RunScan):
    """The state, outputs, files and times that follow from the sorted facts of a run."""

    def __init__(self, run: Run, rules: Rules) -> None:
        super().__init__(run)
        self.run = run
        self.rules = rules
        #: The state by signs of life alone.
        self.live: State | None = None
        self.running_at: int | None = None
        self.idle_since: int | None = None
        self.interrupted_since: int | None = None
        #: The inferred end that holds.
        self.inferred: Fact | None = None
        #: The inferred end that a newer sign of life revoked, and when that sign was, ms.
        self.revoked: Fact | None = None
        self.revoked_at: int | None = None
        #: First and newest sign of life after an end reported by the vendor, ms. None if a newer run exists: they may belong to it.
        self.zombie_since: int | None = None
        self.zombie_at: int | None = None
        #: url -> state; the output with the newest fact stands last.
        self._outputs: dict[str, OutputState] = {}
        #: Outputs that failed, and did no more than end since.
        self._failed_urls: set[str] = set()
        self._outputs_ended_at = 0
        self._only_output: Output | None = None
        for fact in run.facts:
            self._apply_fact(fact)
        self.files, self.files_truncated = merge_files(run.facts) if self.has_files else ((), False)

    def _apply_fact(self, fact: Fact) -> None:
        shows_life = fact.shows_life
        if (shows_life or fact.kind is FactKind.OUTPUT) and self._is_after_end(fact):
            self._record_zombie_sign(fact)
            return
        if fact.kind is FactKind.INFERRED:
            self._apply_inferred_end(fact)
        elif shows_life:
            self._apply_life_sign(fact)
        if fact.output is not None:
            self._apply_output(fact, fact.output)

    def _apply_inferred_end(self, fact: Fact) -> None:
        """Applies an inferred end; of several, the one received last holds.

        It is revoked by a capture's end that was not known then, and by the vendor's answer that the task started, if that
        answer was received later.
        """
        is_revoked = self.capture_end is not None and self.capture_end.key != fact.knew
        is_revoked |= any(accept.received_at > fact.received_at and accept.at >= fact.at for accept in self.accepted)
        if not is_revoked and (self.inferred is None or fact.received_at >= self.inferred.received_at):
            self.inferred = fact

    def _record_zombie_sign(self, fact: Fact) -> None:
        """Records a sign of life after the end; an output that goes away after the end is none."""
        if fact.shows_life and not self.run.has_successor:
            self.zombie_since = self.zombie_since or fact.at
            self.zombie_at = fact.at

    def _is_after_end(self, fact: Fact) -> bool:
        """Returns whether the vendor reported an end before this fact; the end of all outputs after an accepted stop is one."""
        if self.first_end_at is not None:
            return fact.at > self.first_end_at
        return (
            self.all_outputs_ended()
            and self.stop_accepted_at is not None
            and self.stop_accepted_at <= self._outputs_ended_at + CLOCK_SKEW_MS
        )

    def _apply_life_sign(self, fact: Fact) -> None:
        if self.inferred is not None and not self.run.has_successor:
            self.revoked, self.revoked_at, self.inferred = self.inferred, fact.at, None
        self._update_live_state(fact)

    def _update_live_state(self, fact: Fact) -> None:
        is_repeated_start = fact.kind is FactKind.START and not (fact.media or fact.idle) and self.live is not None
        if fact.kind is FactKind.OUTPUT or is_repeated_start:
            return
        state = self._state_shown_by(fact)
        if fact.idle:
            self.idle_since = self.idle_since or fact.at
        elif fact.kind is not FactKind.START or fact.media:
            self.idle_since = None
        reconnects = state is State.INTERRUPTED and not fact.idle
        self.interrupted_since = (self.interrupted_since or fact.at) if reconnects else None
        self.live = state

    def _state_shown_by(self, fact: Fact) -> State:
        if fact.kind is FactKind.MEDIA or fact.media:
            self.running_at = self.running_at or fact.at
            return State.RUNNING
        if fact.kind is FactKind.INTERRUPTED:
            return State.INTERRUPTED
        return State.ACCEPTED if self.running_at is None else State.INTERRUPTED

    def _apply_output(self, fact: Fact, output: Output) -> None:
        if fact.kind is not FactKind.OUTPUT:
            known = self._only_output
            url = output.url or (known.url if known else None)
            # A note that names another url does not say that media flows there; a repeated start does not say that it stopped.
            state = output.state
            if fact.kind in (FactKind.NOTE, FactKind.START):
                state = known.state if known else OutputState.CONNECTING
            self._only_output = Output(url=url, state=state)
            return
        url = output.url or ""
        before = self._outputs.get(url)
        if output.state is OutputState.FAILED:
            self._failed_urls.add(url)
        elif output.state is not OutputState.ENDED or before not in (OutputState.FAILED, OutputState.ENDED):
            self._failed_urls.discard(url)
        self._outputs.pop(url, None)  # the newest one is inserted last
        self._outputs[url] = output.state
        if len(self._outputs) > MAX_OUTPUTS:
            self._drop_one_output()
        self._outputs_ended_at = fact.at
        if output.state is OutputState.RUNNING:
            self.running_at = self.running_at or fact.at
        self._update_interrupted_since(fact)

    def _drop_one_output(self) -> None:
        """Drops the output whose newest fact is the oldest; ended outputs are dropped before others."""
        ended = (url for url, state in self._outputs.items() if state is OutputState.ENDED)
        url = next(ended, next(iter(self._outputs)))
        del self._outputs[url]
        self._failed_urls.discard(url)

    def _update_interrupted_since(self, fact: Fact) -> None:
        interrupted = self._state_by_outputs() is State.INTERRUPTED
        self.interrupted_since = (self.interrupted_since or fact.at) if interrupted else None

    # The state as long as nothing ended the run.

    def current_state(self) -> tuple[State, Reason | None, bool]:
        return self._live_state(), None, False

    def _live_state(self) -> State:
        if self.capture_end is not None or self.inferred is not None:
            return State.FINISHING
        if self.stop_asked is not None:
            return State.STOPPING
        if self._outputs:
            return self._state_by_outputs()
        if self.live is not None:
            return self.live
        facts = self.run.facts
        if self.accepted:
            return State.RUNNING if any(fact.recording for fact in facts) else State.ACCEPTED
        if all(fact.kind is FactKind.INTENT for fact in facts):
            return State.REQUESTED
        return self._state_by_files()

    def _state_by_files(self) -> State:
        files = [fact for fact in self.run.facts if fact.kind in FILE_KINDS and not fact.remark]
        if not files:
            return State.ACCEPTED
        return State.RUNNING if all(fact.recording for fact in files) else State.FINISHING

    def _state_by_outputs(self) -> State:
        states = set(self._outputs.values())
        if OutputState.RUNNING in states:
            return State.RUNNING
        if OutputState.CONNECTING in states and self.running_at is None:
            return State.ACCEPTED
        return State.INTERRUPTED

    def all_outputs_ended(self) -> bool:
        return bool(self._outputs) and set(self._outputs.values()) == {OutputState.ENDED}

    def all_outputs_failed(self) -> bool:
        return self._failed_urls == set(self._outputs)

    def last_failure(self) -> Fact | None:
        """Returns the newest fact about a failed output; it carries the vendor's code and message."""
        failed = (f for f in self.run.facts if f.output is not None and f.output.state is OutputState.FAILED)
        return max(failed, key=lambda fact: fact.order, default=None)

    def outputs(self) -> tuple[Output, ...]:
        if self._only_output is not None and self._only_output.url is not None:
            return (self._only_output,)
        return tuple(Output(url=url, state=state) for url, state in sorted(self._outputs.items()))

    def final_outputs(self) -> tuple[Output, ...]:
        """Returns the outputs of an ended task of a vendor with one output per task: the output ended with the task."""
        kept = (OutputState.FAILED, OutputState.ENDED)
        return tuple(o if o.state in kept else replace(o, state=OutputState.ENDED) for o in self.outputs())

    def started_at(self) -> int | None:
        if self.accepted:
            return max(self.accepted[0].at, self.scheduled_at or 0)
        if self.scheduled_at is not None:
            return self.scheduled_at
        signs = (self.first_sign_at, self.run.created_at)
        return min((at for at in signs if at is not None), default=None)

    def newest_explanation(self) -> Fact | None:
        """Returns the fact whose code and message explain the state.

        The capture's end, else the newest sign of life or failed stop, else the newest fact with a code or a message.
        """
        if self.capture_end is not None:
            return self.capture_end
        newest_first = self.run.facts[::-1]
        newest_sign = next((f for f in newest_first if f.shows_life or f.kind is FactKind.STOP_FAILED), None)
        return newest_sign or next((f for f in newest_first if f.code is not None or f.message is not None), None)

    # For deciding whether and how the run ended (`run_end`).

    def stop_requested_before(self, at: int) -> bool:
        return self.stop_asked is not None and self.stop_asked.at <= at + CLOCK_SKEW_MS

    def reached_max_lifetime(self, at: int) -> bool:
        start = self.started_at()
        if self.rules.life_s is None or start is None:
            return False
        return at - start >= (self.rules.life_s - self.rules.life_margin_s) * 1000

    def find_delivery_end(self) -> Fact | None:
        """Returns the first fact at which the delivery of files was over."""
        first = next((fact for fact in self.deliveries if self._ends_delivery(fact)), None)
        if first is None:
            return None
        capture_known_later = first.delivery is FilesDelivered.WITH_CAPTURE and self.capture_end and self.capture_end.at > first.at
        return self.capture_end if capture_known_later else first

    def _ends_delivery(self, fact: Fact) -> bool:
        match fact.delivery:
            case FilesDelivered.OVER:
                return True
            case FilesDelivered.WITH_CAPTURE:
                return self.capture_end_at is not None
            case FilesDelivered.SINCE_CAPTURE:
                return self.capture_end_at is not None and fact.at >= self.capture_end_at
        return False

    def finishing_since(self) -> int:
        if self.capture_end_at is not None:
            return self.capture_end_at
        if self.inferred is not None:
            return self.inferred.ended_at or self.inferred.at
        return min(fact.at for fact in self.run.facts if fact.kind in FILE_KINDS)

    def has_only_files(self) -> bool:
        """Returns whether only facts about files are known, and these show that the run is finishing."""
        return all(fact.kind in FILE_KINDS for fact in self.run.facts) and self._state_by_files() is State.FINISHING

    def fallback_ending(self) -> tuple[State, Reason]:
        fact = self.capture_end or self.inferred
        if fact is not None and fact.outcome is not None:
            return fact.outcome.state, fact.outcome.reason
        return State.COMPLETED, Reason.FILES_UNKNOWN


def merge_files(facts: Sequence[Fact]) -> tuple[tuple[File, ...], bool]:
    """Returns all files of a run, in the order in which they were first named, and whether there are more than `MAX_FILES`.

    Later facts overwrite earlier ones. A fact about the state of all files may precede the facts that name them.
    """
    files: dict[str, File] = {}
    common_state = FileState.KNOWN
    truncated = False
    for fact in facts:
        for file in fact.files:
            named = with_file_state(file, common_state) if file.state is FileState.KNOWN else file
            known = files.get(file.identity)
            if known is None and len(files) >= MAX_FILES:
                truncated = True
            else:
                files[file.identity] = named if known is None else merge_file(known, named)
        if fact.file_state is not None:
            common_state = fact.file_state
            files = {name: with_file_state(file, common_state) for name, file in files.items()}
    return tuple(files.values()), truncated


def merge_file(known: File, update: File) -> File:
    """Returns the known file with the fields that `update` sets; a file that is only named once more keeps its state."""
    changes = {name: value for name in File.__slots__ if (value := getattr(update, name)) is not None}
    if update.state is FileState.KNOWN:
        del changes["state"]
    return fast_replace(known, **changes)


def with_file_state(file: File, state: FileState) -> File:
    """Returns the file in this state; a failed file stays failed."""
    return file if file.state in (FileState.FAILED, state) else fast_replace(file, state=state)
