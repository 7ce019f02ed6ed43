"""Bounds the facts of a run: of very many, those that its state rests on stay, and the newest.

`compaction` drops only repeats in a row, and loses nothing whatever comes later. Signs that alternate for days, and repeats that
differ in a text, need more: here all facts older than the newest few (`TAIL`) go, except those that are the first or the last of
their sort, or that made the run what it is (its ends, outputs, files, and since when it is idle or interrupted). So the run reads
as before, and goes on as it would have with all facts, as long as what comes is no older than the newest few. What comes later
than that still counts, but what it meets is thinned: docs/decisions/0013-cost-of-a-long-task.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from statemachine.facts import Fact, FactKind, File, Output, Rules
from statemachine.fast_dataclasses import changed
from statemachine.folding.output_limits import MOST_FILES
from statemachine.folding.run_progress import Course, merged, restated
from statemachine.folding.run_scan import by_rank
from statemachine.folding.run_view import View, fold
from statemachine.folding.runs import Run, cut_ordered
from statemachine.states import FileState, OutputState

#: A run is thinned when it has more facts than this, whenever their number is a multiple of `STRIDE`: so many share the work.
MOST_FACTS, STRIDE = 96, 32
#: The newest facts of a run, which are never dropped: of the two newest runs, and of those before them.
TAIL, OLD_TAIL = 24, 8
#: Of how many facts it is worth while to thin a run before the two newest ones.
_OLD_FACTS = 3 * OLD_TAIL
#: Of what we said ourselves, so many of the first and of the last stay: three accepted stops, say, are enough to conclude an end.
_OURS_KEPT = 4


def tails(runs: Sequence[Run], *, newly_begun: bool) -> dict[int, int]:
    """Which runs are to be thinned, by their index, and how many of their newest facts stay.

    newly_begun: whether one has just begun, so that those before the two newest are not expected to change any more.
    """
    found = {}
    for index, run in enumerate(runs):
        number = len(run.facts)
        if number > _OLD_FACTS and newly_begun and index < len(runs) - 2:
            found[index] = OLD_TAIL
        elif number > MOST_FACTS and number % STRIDE == 0:
            found[index] = TAIL
    return found


def thinned(
    facts: Sequence[Fact], runs: Sequence[Run], anchors: Set[str], rules: Sequence[Rules], tail_of: Mapping[int, int]
) -> tuple[Fact, ...]:
    """Returns the facts, in order, without those that no run rests on.

    Should any run read otherwise without those, longer tails stay, at last all facts. anchors: keys of facts that stay. rules: of
    each run. tail_of: as `tails` says.
    """
    while tail_of:
        kept: dict[str, Fact] = {}
        for index, run in enumerate(runs):
            left = run.facts if index not in tail_of else _thinned_run(run, anchors, rules[index], tail_of[index])
            kept |= {fact.key: fact for fact in left}
        result = tuple(kept[fact.key] for fact in facts if fact.key in kept)
        if _read_the_same(result, runs, rules):
            return result
        tail_of = {index: 2 * tail for index, tail in tail_of.items() if 2 * tail < len(runs[index].facts)}
    return tuple(facts)


def _thinned_run(run: Run, anchors: Set[str], rules: Rules, tail: int) -> Sequence[Fact]:
    trace = _Trace(run, rules)
    needed = trace.needed | {fact.key for fact in run.facts[-tail:]} | _first_and_last(run.facts) | _of_the_whole(run, trace)
    needed |= {trace.beside[key] for key in (needed | anchors) & trace.beside.keys()}
    entries = _files_needed(run.facts)
    kept = []
    for fact in run.facts:
        own = entries.get(fact.key, ())
        if fact.key in needed or fact.key in anchors or own:
            kept.append(fact if len(own) == len(fact.files) else changed(fact, files=own))
    return kept


def _read_the_same(facts: Sequence[Fact], runs: Sequence[Run], rules: Sequence[Rules]) -> bool:
    again = cut_ordered(facts, rules[0])
    return len(again) == len(runs) and all(
        _told(fold(new, of_run)) == _told(fold(run, of_run)) for new, run, of_run in zip(again, runs, rules, strict=True)
    )


def _told(view: View) -> View:
    """Without what only counts."""
    return changed(view, stops_accepted=min(view.stops_accepted, _OURS_KEPT))


class _Trace(Course):
    """A course that notes on which facts it rests: those that last changed each of its marks, and before that."""

    def __init__(self, run: Run, rules: Rules) -> None:
        self._changed_by: list[tuple[str, ...]] = [()] * len(self._MARKS)
        #: url -> the last fact that told of it, and the last one that did not tell its end.
        self._last_told: dict[str, str] = {}
        self._last_open: dict[str, str] = {}
        #: An end of an output -> what was told last of another output that had not ended then.
        self.beside: dict[str, str] = {}
        self._last_url: str | None = None
        #: What was told last of each output when `interrupted_since` changed.
        self._when_interrupted: set[str] = set()
        super().__init__(run, rules)

    _MARKS = (
        "live",
        "running_at",
        "idle_since",
        "interrupted_since",
        "inferred",
        "revoked",
        "revoked_at",
        "zombie_since",
        "zombie_at",
        "_only_output",
        "_outputs_ended_at",
    )

    def _take(self, fact: Fact) -> None:
        before = [getattr(self, name) for name in self._MARKS]
        super()._take(fact)
        for index, (name, was) in enumerate(zip(self._MARKS, before, strict=True)):
            if getattr(self, name) != was:
                self._changed_by[index] = (*self._changed_by[index][-1:], fact.key)

    def _take_output(self, fact: Fact, output: Output) -> None:
        interrupted_since = self.interrupted_since
        super()._take_output(fact, output)
        if fact.kind is not FactKind.OUTPUT:
            self._last_url = fact.key if output.url else self._last_url
            return
        url = output.url or ""
        if self.interrupted_since != interrupted_since:  # it follows from how all outputs stood before and since
            self._when_interrupted = {*self._last_told.values(), fact.key}
        self._last_told[url] = fact.key
        if output.state is not OutputState.ENDED:
            self._last_open[url] = fact.key
        else:  # not the last one to end, as long as one of the others lives
            lives = next((other for other, state in self._outputs.items() if state is not OutputState.ENDED), None)
            if lives is not None:
                self.beside[fact.key] = self._last_told[lives]

    @property
    def needed(self) -> set[str]:
        keys = {key for changed_by in self._changed_by for key in changed_by}
        for told in (self._last_told, self._last_open):
            keys |= {key for url, key in told.items() if url in self._outputs}
        return keys | self._when_interrupted | ({self._last_url} if self._last_url else set())


def _sort_of(fact: Fact) -> tuple[object, ...]:
    """What a fact says apart from names, texts and times: few values, whatever a vendor sends."""
    return (
        fact.kind,
        fact.output.state if fact.output else None,
        fact.opens,
        fact.one_off,
        fact.media,
        fact.idle,
        fact.remark,
        fact.recording,
        fact.finishing,
        fact.delivery,
        fact.file_state,
        fact.kind_hint,
        fact.progress is None,
        fact.started_at is None,
        fact.about is None,
    )


def _first_and_last(facts: Sequence[Fact]) -> set[str]:
    first: dict[tuple[object, ...], str] = {}
    last: dict[tuple[object, ...], str] = {}
    for fact in facts:
        sort = _sort_of(fact)
        first.setdefault(sort, fact.key)
        last[sort] = fact.key
    return {*first.values(), *last.values()}


def _of_the_whole(run: Run, course: Course) -> set[str]:
    """The facts that speak for a run as a whole."""
    facts = run.facts
    speaking = [course.capture, course.stop_asked, course.last_failure(), course.newest_telling(), course.delivered_by()]
    speaking += course.told_ends and [min(course.told_ends, key=by_rank)]
    speaking += [next((f for f in facts if getattr(f, name) is not None), None) for name in ("room_id", "robot", "scheduled_at")]
    speaking.append(max((f for f in facts if f.from_vendor), key=lambda f: f.received_at, default=None))
    speaking.append(min((f for f in facts if f.started_at is not None), key=lambda f: min(f.started_at or 0, f.at), default=None))
    speaking.append(next((f for f in facts if f.opens and f.started_at is None and f.at >= (run.created_at or 0)), None))
    for test in (_shows_life, _is_output, _has_text, _is_delivery):
        speaking += _ends_of([fact for fact in facts if test(fact)], 1)
    for kind in (FactKind.INTENT, FactKind.ACCEPTED, FactKind.STOP_ASKED, FactKind.STOP_ACCEPTED, FactKind.INFERRED):
        speaking += _ends_of([fact for fact in facts if fact.kind is kind], _OURS_KEPT)
    speaking += _refusals(facts)
    return {fact.key for fact in speaking if fact is not None}


def _refusals(facts: Sequence[Fact]) -> list[Fact]:
    """The refusal that speaks, and the one that does if only those after a repeated start count."""
    refused = [fact for fact in facts if fact.kind is FactKind.REFUSED]
    again = max((fact.order for fact in facts if fact.kind is FactKind.ACCEPTED and fact.again), default=None)
    since = [fact for fact in refused if again is None or fact.order > again]
    return [min(some, key=by_rank) for some in (refused, since) if some]


def _ends_of(facts: Sequence[Fact], number: int) -> Iterable[Fact]:
    return (*facts[:number], *facts[-number:])


def _shows_life(fact: Fact) -> bool:
    return fact.shows_life


def _is_output(fact: Fact) -> bool:
    return fact.kind is FactKind.OUTPUT


def _has_text(fact: Fact) -> bool:
    return fact.code is not None or fact.message is not None


def _is_delivery(fact: Fact) -> bool:
    return fact.delivery is not None


def _files_needed(facts: Sequence[Fact]) -> dict[str, tuple[File, ...]]:
    """Key of a fact -> which of its files anything rests on: told by it first, or last in some respect."""
    tellings = _Tellings()
    for fact in facts:
        tellings.take(fact)
    needed = tellings.needed()
    return {fact.key: tuple(f for f in fact.files if (fact.key, f.identity) in needed) for fact in facts if fact.files}


class _Tellings:
    """Follows `course.files_of`, and notes who said what."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        #: (identity of a file, field) -> the fact that said last what it is.
        self._said: dict[tuple[str, str], str] = {}
        self._first: dict[str, str] = {}
        self._surplus: tuple[str, str] | None = None
        self._of_all = FileState.KNOWN

    def take(self, fact: Fact) -> None:
        for file in fact.files:
            self._name(fact, file)
        if fact.file_state is not None:
            self._of_all = fact.file_state
            self._files = {name: restated(file, self._of_all) for name, file in self._files.items()}

    def _name(self, fact: Fact, file: File) -> None:
        named = restated(file, self._of_all) if file.state is FileState.KNOWN else file
        identity, known = file.identity, self._files.get(file.identity)
        if known is None and len(self._files) >= MOST_FILES:
            self._surplus = self._surplus or (fact.key, identity)
            return
        self._files[identity] = named if known is None else merged(known, named)
        self._first.setdefault(identity, fact.key)
        for name in _told_fields(named, is_new=known is None):
            self._said[identity, name] = fact.key

    def needed(self) -> set[tuple[str, str]]:
        entries = {(key, identity) for identity, key in self._first.items()}
        entries |= {(key, identity) for (identity, _), key in self._said.items()}
        return entries | ({self._surplus} if self._surplus else set())


def _told_fields(file: File, *, is_new: bool) -> Iterator[str]:
    for name in File.__slots__:
        if getattr(file, name) is not None and (is_new or name != "state" or file.state is not FileState.KNOWN):
            yield name
