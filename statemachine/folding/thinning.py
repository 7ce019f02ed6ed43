"""Limits the number of facts of a run: keeps the newest facts and those that the run's view depends on.

`compaction` drops only repeats in a row, and loses nothing whatever arrives later. Facts that alternate for days, and repeats that
differ in a text, need more: here all facts older than the newest few (`TAIL`) are dropped, except the first and the last fact of
each signature, and the facts that determine the view (ends, outputs, files, and since when the run is idle or interrupted). The
view stays the same, and later facts change it exactly as they would with all facts, as long as they are no older than the newest
few. A fact that is older than those still counts, but is folded with the thinned set: docs/decisions/0013-cost-of-a-long-task.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from statemachine.facts import Fact, FactKind, File, Output
from statemachine.fast_dataclasses import fast_replace
from statemachine.folding.output_limits import MAX_FILES
from statemachine.folding.run_progress import RunProgress, merge_file, with_file_state
from statemachine.folding.run_scan import ending_rank
from statemachine.folding.run_view import View, fold_run
from statemachine.folding.runs import Run, cut_sorted_facts
from statemachine.rules import Rules
from statemachine.states import FileState, OutputState

#: Facts per run above which it is thinned.
MAX_FACTS = 96
#: A run above `MAX_FACTS` is thinned only when its number of facts is a multiple of this, to spread the cost over that many facts.
STRIDE = 32
#: Newest facts of each of the two newest runs that are never dropped.
TAIL = 24
#: Newest facts of each older run that are never dropped.
OLD_TAIL = 8
#: Facts above which an older run (before the two newest) is worth thinning.
OLD_MAX_FACTS = 3 * OLD_TAIL
#: Facts of our own per kind that stay: this many of the first and of the last. Three accepted stops are enough to infer an end.
_OWN_KEPT = 4


def tails_to_keep(runs: Sequence[Run], *, newly_begun: bool) -> dict[int, int]:
    """Returns index of each run to thin -> number of its newest facts that stay.

    newly_begun: whether a run has just begun, so that the runs before the two newest are not expected to change any more.
    """
    tail_of = {}
    for index, run in enumerate(runs):
        number = len(run.facts)
        if number > OLD_MAX_FACTS and newly_begun and index < len(runs) - 2:
            tail_of[index] = OLD_TAIL
        elif number > MAX_FACTS and number % STRIDE == 0:
            tail_of[index] = TAIL
    return tail_of


def thin_facts(
    facts: Sequence[Fact], runs: Sequence[Run], anchors: Set[str], rules: Sequence[Rules], tail_of: Mapping[int, int]
) -> tuple[Fact, ...]:
    """Returns the facts, in order, without those that no run's view depends on.

    If the view of any run would change, the tails are doubled, until at last all facts stay. anchors: keys of facts that stay.
    rules: one per run. tail_of: as returned by `tails_to_keep`.
    """
    while tail_of:
        kept: dict[str, Fact] = {}
        for index, run in enumerate(runs):
            run_facts = run.facts if index not in tail_of else _thin_run(run, anchors, rules[index], tail_of[index])
            kept |= {fact.key: fact for fact in run_facts}
        result = tuple(kept[fact.key] for fact in facts if fact.key in kept)
        if _views_unchanged(result, runs, rules):
            return result
        tail_of = {index: 2 * tail for index, tail in tail_of.items() if 2 * tail < len(runs[index].facts)}
    return tuple(facts)


def _thin_run(run: Run, anchors: Set[str], rules: Rules, tail: int) -> Sequence[Fact]:
    trace = _TracedProgress(run, rules)
    needed = (
        trace.needed | {fact.key for fact in run.facts[-tail:]} | _first_and_last_keys(run.facts) | _keys_for_whole_run(run, trace)
    )
    needed |= {trace.beside[key] for key in (needed | anchors) & trace.beside.keys()}
    entries = _needed_files(run.facts)
    kept = []
    for fact in run.facts:
        own = entries.get(fact.key, ())
        if fact.key in needed or fact.key in anchors or own:
            kept.append(fact if len(own) == len(fact.files) else fast_replace(fact, files=own))
    return kept


def _views_unchanged(facts: Sequence[Fact], runs: Sequence[Run], rules: Sequence[Rules]) -> bool:
    again = cut_sorted_facts(facts, rules[0])
    return len(again) == len(runs) and all(
        _comparable_view(fold_run(new, of_run)) == _comparable_view(fold_run(run, of_run))
        for new, run, of_run in zip(again, runs, rules, strict=True)
    )


def _comparable_view(view: View) -> View:
    """Returns the view with its count of accepted stops capped, since thinning may drop some of these facts."""
    return fast_replace(view, stops_accepted=min(view.stops_accepted, _OWN_KEPT))


class _TracedProgress(RunProgress):
    """A RunProgress that records which facts it depends on: for each tracked attribute the last two facts that changed it."""

    def __init__(self, run: Run, rules: Rules) -> None:
        self._changed_by: list[tuple[str, ...]] = [()] * len(self._TRACKED)
        #: url -> key of the last fact about it.
        self._last_fact: dict[str, str] = {}
        #: url -> key of the last fact about it that is not its end.
        self._last_open: dict[str, str] = {}
        #: Key of a fact that ends an output -> key of the last fact about another output that had not ended then.
        self.beside: dict[str, str] = {}
        self._last_url: str | None = None
        #: Keys of the last fact about each output when `interrupted_since` last changed.
        self._when_interrupted: set[str] = set()
        super().__init__(run, rules)

    #: Attributes whose changes are tracked.
    _TRACKED = (
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

    def _apply_fact(self, fact: Fact) -> None:
        before = [getattr(self, name) for name in self._TRACKED]
        super()._apply_fact(fact)
        for index, (name, was) in enumerate(zip(self._TRACKED, before, strict=True)):
            if getattr(self, name) != was:
                self._changed_by[index] = (*self._changed_by[index][-1:], fact.key)

    def _apply_output(self, fact: Fact, output: Output) -> None:
        interrupted_since = self.interrupted_since
        super()._apply_output(fact, output)
        if fact.kind is not FactKind.OUTPUT:
            self._last_url = fact.key if output.url else self._last_url
            return
        url = output.url or ""
        if self.interrupted_since != interrupted_since:  # it follows from the states of all outputs before and after this fact
            self._when_interrupted = {*self._last_fact.values(), fact.key}
        self._last_fact[url] = fact.key
        if output.state is not OutputState.ENDED:
            self._last_open[url] = fact.key
        else:  # this output is not the last one to end as long as another one lives
            live_url = next((other for other, state in self._outputs.items() if state is not OutputState.ENDED), None)
            if live_url is not None:
                self.beside[fact.key] = self._last_fact[live_url]

    @property
    def needed(self) -> set[str]:
        """Keys of the facts on which the state and the outputs depend."""
        keys = {key for changed_by in self._changed_by for key in changed_by}
        for last_of in (self._last_fact, self._last_open):
            keys |= {key for url, key in last_of.items() if url in self._outputs}
        return keys | self._when_interrupted | ({self._last_url} if self._last_url else set())


def _fact_signature(fact: Fact) -> tuple[object, ...]:
    """Returns what a fact states apart from names, texts and times; there are few values, whatever a vendor sends."""
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


def _first_and_last_keys(facts: Sequence[Fact]) -> set[str]:
    first: dict[tuple[object, ...], str] = {}
    last: dict[tuple[object, ...], str] = {}
    for fact in facts:
        signature = _fact_signature(fact)
        first.setdefault(signature, fact.key)
        last[signature] = fact.key
    return {*first.values(), *last.values()}


def _keys_for_whole_run(run: Run, progress: RunProgress) -> set[str]:
    """Returns the keys of the facts that determine the view apart from state and outputs."""
    facts = run.facts
    deciding = [
        progress.capture_end,
        progress.stop_asked,
        progress.last_failure(),
        progress.newest_explanation(),
        progress.find_delivery_end(),
    ]
    deciding += progress.vendor_ends and [min(progress.vendor_ends, key=ending_rank)]
    deciding += [next((f for f in facts if getattr(f, name) is not None), None) for name in ("room_id", "robot", "scheduled_at")]
    deciding.append(max((f for f in facts if f.from_vendor), key=lambda f: f.received_at, default=None))
    deciding.append(min((f for f in facts if f.started_at is not None), key=lambda f: min(f.started_at or 0, f.at), default=None))
    deciding.append(next((f for f in facts if f.opens and f.started_at is None and f.at >= (run.created_at or 0)), None))
    for test in (_shows_life, _is_output, _has_text, _is_delivery):
        deciding += _both_ends([fact for fact in facts if test(fact)], 1)
    for kind in (FactKind.INTENT, FactKind.ACCEPTED, FactKind.STOP_ASKED, FactKind.STOP_ACCEPTED, FactKind.INFERRED):
        deciding += _both_ends([fact for fact in facts if fact.kind is kind], _OWN_KEPT)
    deciding += _deciding_refusals(facts)
    return {fact.key for fact in deciding if fact is not None}


def _deciding_refusals(facts: Sequence[Fact]) -> list[Fact]:
    """Returns the refusal that counts, and the one that counts if only those after a repeated start do."""
    refusals = [fact for fact in facts if fact.kind is FactKind.REFUSED]
    again = max((fact.order for fact in facts if fact.kind is FactKind.ACCEPTED and fact.again), default=None)
    later = [fact for fact in refusals if again is None or fact.order > again]
    return [min(group, key=ending_rank) for group in (refusals, later) if group]


def _both_ends(facts: Sequence[Fact], number: int) -> Iterable[Fact]:
    return (*facts[:number], *facts[-number:])


def _shows_life(fact: Fact) -> bool:
    return fact.shows_life


def _is_output(fact: Fact) -> bool:
    return fact.kind is FactKind.OUTPUT


def _has_text(fact: Fact) -> bool:
    return fact.code is not None or fact.message is not None


def _is_delivery(fact: Fact) -> bool:
    return fact.delivery is not None


def _needed_files(facts: Sequence[Fact]) -> dict[str, tuple[File, ...]]:
    """Returns key of a fact -> those of its files that are named first, or whose field is set last, by this fact."""
    sources = _FileSources()
    for fact in facts:
        sources.add_fact(fact)
    needed = sources.needed_entries()
    return {fact.key: tuple(f for f in fact.files if (fact.key, f.identity) in needed) for fact in facts if fact.files}


class _FileSources:
    """Merges files as `run_progress.merge_files` does, and records which fact set which field."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        #: (identity of a file, field) -> key of the fact that set it last.
        self._last_set_by: dict[tuple[str, str], str] = {}
        self._first_named_by: dict[str, str] = {}
        self._surplus: tuple[str, str] | None = None
        self._of_all = FileState.KNOWN

    def add_fact(self, fact: Fact) -> None:
        for file in fact.files:
            self._add_file(fact, file)
        if fact.file_state is not None:
            self._of_all = fact.file_state
            self._files = {name: with_file_state(file, self._of_all) for name, file in self._files.items()}

    def _add_file(self, fact: Fact, file: File) -> None:
        named = with_file_state(file, self._of_all) if file.state is FileState.KNOWN else file
        identity, known = file.identity, self._files.get(file.identity)
        if known is None and len(self._files) >= MAX_FILES:
            self._surplus = self._surplus or (fact.key, identity)
            return
        self._files[identity] = named if known is None else merge_file(known, named)
        self._first_named_by.setdefault(identity, fact.key)
        for name in _stated_fields(named, is_new=known is None):
            self._last_set_by[identity, name] = fact.key

    def needed_entries(self) -> set[tuple[str, str]]:
        entries = {(key, identity) for identity, key in self._first_named_by.items()}
        entries |= {(key, identity) for (identity, _), key in self._last_set_by.items()}
        return entries | ({self._surplus} if self._surplus else set())


def _stated_fields(file: File, *, is_new: bool) -> Iterator[str]:
    for name in File.__slots__:
        if getattr(file, name) is not None and (is_new or name != "state" or file.state is not FileState.KNOWN):
            yield name
