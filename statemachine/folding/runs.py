"""Cuts the facts of one lineage into runs.

A run is one life of a task at the vendor. It begins with a start sign (or with the first known fact) and ends with an end. After
the vendor reported an end of the task or of its capture, any newer start sign begins the next run. If the vendor reports when it
created the task, that time decides, whatever the order of the other signs. Facts about files are assigned by the times at which
captures ended, because they arrive late by nature.

The result is a function of the set of facts: they are sorted first, so the order of arrival cannot matter.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from statemachine.facts import FILE_KINDS, Fact, FactKind, FilesDelivered, sort_facts
from statemachine.rules import Rules

#: Facts that end a run or its capture.
_ENDS = frozenset({FactKind.END, FactKind.CAPTURE_END, FactKind.REFUSED, FactKind.INFERRED})


@dataclass(slots=True)
class Run:
    """One life of a task: its facts, and when it was created and ended. Changed only while runs are cut."""

    #: Time of its first fact or of its creation, ms.
    begins_at: int
    #: Sorted once all runs are cut (facts about files are assigned last).
    facts: list[Fact] = field(default_factory=list)
    #: When the vendor created the task, if it reported that, ms.
    created_at: int | None = None
    #: The earliest start sign, ms.
    start_sign_at: int | None = None
    #: When we received the newest answer that accepted our start call, ms.
    accepted_by: int | None = None
    #: When the next run begins, ms.
    next_begins_at: int | None = None

    vendor_end_at: int | None = None
    capture_end_at: int | None = None
    _refused: bool = False
    _seen_alive: bool = False
    _one_off: bool = False
    _has_own_facts: bool = False
    _inferred: bool = False

    @property
    def has_ended(self) -> bool:
        """True if the vendor reported the end of the task or of its capture, or rejected its start."""
        return self.vendor_end_at is not None or self.capture_end_at is not None or (self._refused and not self._seen_alive)

    @property
    def has_inferred_end(self) -> bool:
        """True if we inferred its end, and no newer fact contradicts."""
        return self._inferred

    @property
    def has_successor(self) -> bool:
        return self.next_begins_at is not None

    @property
    def has_one_off_start(self) -> bool:
        return self._one_off

    @property
    def has_known_start(self) -> bool:
        """True if its start is known, so that no older fact belongs to it."""
        return self._one_off or self._has_own_facts

    @property
    def shown(self) -> bool:
        """True if the vendor showed signs of the task, other than a rejected start and notes."""
        return self._seen_alive

    def add_fact(self, fact: Fact) -> None:
        self.facts.append(fact)
        if fact.shows_life:
            self._seen_alive = True
            self._inferred = False
            self._one_off = self._one_off or fact.one_off
        if fact.opens:
            self.start_sign_at = fact.at if self.start_sign_at is None else min(self.start_sign_at, fact.at)
        self._has_own_facts = self._has_own_facts or fact.kind in (FactKind.INTENT, FactKind.ACCEPTED)
        if fact.kind is FactKind.ACCEPTED:
            self._refused = self._refused and not fact.again  # else the rejection was of the attempt before
            self.accepted_by = max(fact.at, fact.received_at, self.accepted_by or 0)
        if fact.kind in _ENDS:
            self._record_end(fact)

    def _record_end(self, fact: Fact) -> None:
        match fact.kind:
            case FactKind.END:
                self.vendor_end_at = fact.at if self.vendor_end_at is None else min(self.vendor_end_at, fact.at)
            case FactKind.CAPTURE_END:
                self._seen_alive = True
                self.capture_end_at = fact.at if self.capture_end_at is None else min(self.capture_end_at, fact.at)
            case FactKind.REFUSED:
                self._refused = True
            case FactKind.INFERRED:
                self._inferred = True


def cut_runs(facts: Iterable[Fact], rules: Rules) -> list[Run]:
    """Returns the runs of a lineage, oldest first; every fact is in exactly one. Empty for no facts."""
    return cut_sorted_facts(sort_facts(facts), rules)


def cut_sorted_facts(ordered: Sequence[Fact], rules: Rules) -> list[Run]:
    """Cuts facts that are sorted already; else as `cut_runs`."""
    if rules.single_run:
        return [_uncut_run(ordered)] if ordered else []
    files, stream, late_ends = _separate_facts(ordered)
    runs = _RunCutter(rules).cut_facts(stream)
    _assign_files(runs, files)
    _assign_inferred_ends(runs, late_ends)
    for run in runs:
        run.facts.sort(key=lambda fact: fact.order)
    for run, newer in pairwise(runs):
        run.next_begins_at = newer.begins_at
    return runs


def _separate_facts(ordered: Sequence[Fact]) -> tuple[Sequence[Fact], Sequence[Fact], Sequence[Fact]]:
    """Returns the facts about files, the facts about the stream, and the inferred ends of tasks made by facts about files."""
    files = [fact for fact in ordered if fact.kind in FILE_KINDS]
    if not files:
        return files, ordered, ()
    keys = {fact.key for fact in files}
    stream = [fact for fact in ordered if fact.kind not in FILE_KINDS and fact.about not in keys]
    return files, stream, [fact for fact in ordered if fact.about in keys]


def _uncut_run(ordered: Sequence[Fact]) -> Run:
    """Returns one run with all facts."""
    files, stream, late_ends = _separate_facts(ordered)
    run = Run((stream or files)[0].at)
    for fact in (*stream, *late_ends):
        run.add_fact(fact)
    run.facts = list(ordered)
    return run


class _RunCutter:
    """Cuts the sorted facts about the stream in one pass; the creation times reported by the vendor begin runs on the way."""

    def __init__(self, rules: Rules) -> None:
        self._tolerance_ms = rules.start_tolerance_ms
        self._runs: list[Run] = []
        self._by_creation: dict[int, Run] = {}
        self._by_fact: dict[str, Run] = {}

    def cut_facts(self, stream: Sequence[Fact]) -> list[Run]:
        creations = _creation_times(stream, self._tolerance_ms)
        positions = _creation_positions(stream, creations, self._tolerance_ms)
        for at, group in _group_by_time(stream, positions):
            if at in positions:
                self._apply_creation(positions[at], at)
            self._assign_moment(group, creations)
        return self._runs

    def _assign_moment(self, group: list[Fact], creations: Sequence[int]) -> None:
        """Assigns the facts of one moment, in order; but the end of a run with a one-off start comes before the next start."""
        while group:
            fact = group.pop(0)
            if fact.one_off and self._lives_since_one_off():
                for end in [f for f in group if f.kind in (FactKind.CAPTURE_END, FactKind.END) and not f.started_at]:
                    group.remove(end)
                    self._add_fact(end, self._runs[-1])
            self._add_fact(fact, self._run_of(fact, creations))

    def _add_fact(self, fact: Fact, run: Run) -> None:
        run.add_fact(fact)
        self._by_fact[fact.key] = run

    def _lives_since_one_off(self) -> bool:
        return bool(self._runs) and self._runs[-1].has_one_off_start and not self._runs[-1].has_ended

    def _apply_creation(self, created_at: int, at: int) -> None:
        """Assigns a creation time to the current run, or begins a new run with it."""
        run = self._runs[-1] if self._runs else None
        if run is None or run.has_ended or run.created_at is not None or self._began_before(run, created_at):
            run = self._open_run(at)
        run.created_at = created_at
        self._by_creation[created_at] = run

    def _began_before(self, run: Run, at: int) -> bool:
        signs = [sign for sign in (run.start_sign_at, run.accepted_by) if sign is not None]
        return bool(signs) and at - max(signs) > self._tolerance_ms

    def _run_of(self, fact: Fact, creations: Sequence[int]) -> Run:
        creation = _creation_of(fact, creations)
        if creation is not None:
            return self._by_creation[creation]
        if fact.about in self._by_fact:
            return self._by_fact[fact.about]
        if not self._runs or self._opens_next(fact, self._runs[-1]):
            return self._open_run(fact.at)
        return self._runs[-1]

    @staticmethod
    def _opens_next(fact: Fact, run: Run) -> bool:
        match fact.kind:
            case FactKind.INTENT:
                return run.has_ended or run.has_inferred_end
            case FactKind.REFUSED:
                return run.has_ended
        if not fact.opens and fact.kind is not FactKind.ACCEPTED:
            return False
        if run.has_ended:
            return True
        return fact.one_off and (run.has_one_off_start or run.has_inferred_end)

    def _open_run(self, at: int) -> Run:
        run = Run(at)
        self._runs.append(run)
        return run


def _created_at(fact: Fact) -> int | None:
    """Returns when the vendor reports to have created the task; never later than the fact itself."""
    return None if fact.started_at is None else min(fact.started_at, fact.at)


def _creation_times(stream: Sequence[Fact], tolerance_ms: int) -> list[int]:
    """Returns the distinct creation times that the vendor reported, ascending; times within the tolerance count as one."""
    creations: list[int] = []
    for at in sorted({at for fact in stream if (at := _created_at(fact)) is not None}):
        if not creations or at - creations[-1] > tolerance_ms:
            creations.append(at)
    return creations


def _creation_of(fact: Fact, creations: Sequence[int]) -> int | None:
    created_at = _created_at(fact)
    return None if created_at is None else creations[bisect_right(creations, created_at) - 1]


def _creation_positions(stream: Sequence[Fact], creations: Sequence[int], tolerance_ms: int) -> dict[int, int]:
    """Returns time at which a creation takes effect among the facts -> creation time.

    A start sign within the tolerance reports the same start, and the creation takes effect with it: between the two times the
    end of the run before may be reported.
    """
    signs = [fact.at for fact in stream if fact.opens and fact.started_at is None]
    first: dict[int, int] = {}
    for fact in stream:
        creation = _creation_of(fact, creations)
        if creation is not None:
            first.setdefault(creation, fact.at)
    positions = {}
    for at in creations:
        following = bisect_right(signs, at)
        sign = signs[following] if following < len(signs) else None
        positions[sign if sign is not None and sign <= min(at + tolerance_ms, first[at]) else at] = at
    return positions


def _group_by_time(stream: Sequence[Fact], more_times: Collection[int]) -> Iterator[tuple[int, list[Fact]]]:
    groups = {at: list(group) for at, group in groupby(stream, key=lambda fact: fact.at)}
    for at in sorted({*groups, *more_times}):
        yield at, groups.get(at, [])


def _assign_files(runs: list[Run], files: Sequence[Fact]) -> None:
    """Assigns facts about files to the newest run whose capture ended before and whose upload is open, else by their time."""
    closed = {id(run) for run in runs for fact in run.facts if fact.delivery is FilesDelivered.OVER}
    for fact in files:
        index = _newest_awaiting_files(runs, fact, closed)
        if index is None:
            index = _index_by_time(runs, fact)
        runs[index].facts.append(fact)
        if fact.delivery in (FilesDelivered.OVER, FilesDelivered.WITH_CAPTURE):
            closed.add(id(runs[index]))


def _newest_awaiting_files(runs: Sequence[Run], fact: Fact, closed: set[int]) -> int | None:
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        if run.capture_end_at is not None and run.capture_end_at <= fact.at and id(run) not in closed:
            return index
    return None


def _index_by_time(runs: list[Run], fact: Fact) -> int:
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        if run.begins_at < fact.at or (run.begins_at == fact.at and not (index and runs[index - 1].has_one_off_start)):
            return index
    if runs and not runs[0].has_known_start:
        return 0
    # Files follow a capture, so files older than the first start belong to a run of which nothing else is known.
    runs.insert(0, Run(fact.at))
    return 0


def _assign_inferred_ends(runs: Sequence[Run], late_ends: Sequence[Fact]) -> None:
    """Assigns the inferred end of a task made by a fact about files to the run of that fact."""
    run_of = {fact.key: run for run in runs for fact in run.facts}
    for fact in late_ends:
        run_of[fact.about or ""].add_fact(fact)
