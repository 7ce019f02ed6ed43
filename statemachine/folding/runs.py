"""Cuts the facts of one lineage into runs.

Rule: a run is one life of a task at the vendor. It begins with a start sign (or with whatever was heard first) and ends with an
end; after a told end, or the told end of its capture, any newer start sign begins the next one. Where the vendor tells when it
created the task, that time decides, whatever the order of the other signs. Facts about files find their run by when captures
ended, because they come late by nature.

The cut is a function of the set of facts: they are sorted first, so the order of arrival cannot matter.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from statemachine.facts import DELIVERIES, Delivery, Fact, FactKind, Rules, in_order

#: What a run notes as its end, or as that of its capture.
_ENDS = frozenset({FactKind.END, FactKind.CAPTURE_END, FactKind.REFUSED, FactKind.INFERRED})


@dataclass(slots=True)
class Run:
    """One run while it is being cut; read-only afterwards."""

    #: Where it begins in the order of facts, ms.
    begins_at: int
    #: In order; once the cut is done, facts about files are in their place.
    facts: list[Fact] = field(default_factory=list)
    #: When the vendor created it, where it told so, ms.
    created_at: int | None = None
    #: The earliest start sign, ms.
    signed_at: int | None = None
    #: When the answer came that accepted a start call of ours, ms.
    accepted_by: int | None = None
    #: When a newer run began, ms.
    followed_at: int | None = None

    told_end_at: int | None = None
    capture_end_at: int | None = None
    _refused: bool = False
    _shown: bool = False
    _one_off: bool = False
    _ours: bool = False
    _inferred: bool = False

    @property
    def over(self) -> bool:
        """The vendor told its end, or that its capture ended."""
        return self.told_end_at is not None or self.capture_end_at is not None or (self._refused and not self._shown)

    @property
    def concluded(self) -> bool:
        """We said that it ended, and nothing newer contradicts."""
        return self._inferred

    @property
    def has_successor(self) -> bool:
        return self.followed_at is not None

    @property
    def has_one_off_start(self) -> bool:
        return self._one_off

    @property
    def starts_within(self) -> bool:
        """Its start is known, so that nothing older belongs to it."""
        return self._one_off or self._ours

    @property
    def shown(self) -> bool:
        """The vendor showed anything but a refusal and remarks."""
        return self._shown

    def add(self, fact: Fact) -> None:
        self.facts.append(fact)
        if fact.shows_life:
            self._shown = True
            self._inferred = False
            self._one_off = self._one_off or fact.one_off
        if fact.opens:
            self.signed_at = fact.at if self.signed_at is None else min(self.signed_at, fact.at)
        self._ours = self._ours or fact.kind in (FactKind.INTENT, FactKind.ACCEPTED)
        if fact.kind is FactKind.ACCEPTED:
            self._refused = self._refused and not fact.again  # else that was of the attempt before
            self.accepted_by = max(fact.at, fact.received_at, self.accepted_by or 0)
        if fact.kind in _ENDS:
            self._note_end(fact)

    def _note_end(self, fact: Fact) -> None:
        match fact.kind:
            case FactKind.END:
                self.told_end_at = fact.at if self.told_end_at is None else min(self.told_end_at, fact.at)
            case FactKind.CAPTURE_END:
                self._shown = True
                self.capture_end_at = fact.at if self.capture_end_at is None else min(self.capture_end_at, fact.at)
            case FactKind.REFUSED:
                self._refused = True
            case FactKind.INFERRED:
                self._inferred = True


def cut(facts: Iterable[Fact], rules: Rules) -> list[Run]:
    """The runs of a lineage, oldest first; every fact is in exactly one. Empty for no facts."""
    return cut_ordered(in_order(facts), rules)


def cut_ordered(ordered: Sequence[Fact], rules: Rules) -> list[Run]:
    """The same of facts that stand in order."""
    if rules.single_run:
        return [_whole(ordered)] if ordered else []
    files, course, conclusions = _parted(ordered)
    runs = _Cutter(rules).cut(course)
    _assign_files(runs, files)
    _assign_conclusions(runs, conclusions)
    for run in runs:
        run.facts.sort(key=lambda fact: fact.order)
    for run, newer in pairwise(runs):
        run.followed_at = newer.begins_at
    return runs


def _parted(ordered: Sequence[Fact]) -> tuple[Sequence[Fact], Sequence[Fact], Sequence[Fact]]:
    """Facts about files; the course of the lineage; and what was concluded of tasks that facts about files had made."""
    files = [fact for fact in ordered if fact.kind in DELIVERIES]
    if not files:
        return files, ordered, ()
    keys = {fact.key for fact in files}
    course = [fact for fact in ordered if fact.kind not in DELIVERIES and fact.about not in keys]
    return files, course, [fact for fact in ordered if fact.about in keys]


def _whole(ordered: Sequence[Fact]) -> Run:
    """All facts in one run."""
    files, course, conclusions = _parted(ordered)
    run = Run((course or files)[0].at)
    for fact in (*course, *conclusions):
        run.add(fact)
    run.facts = list(ordered)
    return run


class _Cutter:
    """One pass over the course of a lineage in order, with the vendor's own creation times as marks on the way."""

    def __init__(self, rules: Rules) -> None:
        self._tolerance_ms = rules.start_tolerance_ms
        self._runs: list[Run] = []
        self._by_creation: dict[int, Run] = {}
        self._by_fact: dict[str, Run] = {}

    def cut(self, course: Sequence[Fact]) -> list[Run]:
        creations = _creations(course, self._tolerance_ms)
        met = _met(course, creations, self._tolerance_ms)
        for at, group in _by_time(course, met):
            if at in met:
                self._create(met[at], at)
            self._take(group, creations)
        return self._runs

    def _take(self, group: list[Fact], creations: Sequence[int]) -> None:
        """The facts of one moment, in order; but a run that had its start once takes its end before the next start."""
        while group:
            fact = group.pop(0)
            if fact.one_off and self._lives_since_one_off():
                for end in [f for f in group if f.kind in (FactKind.CAPTURE_END, FactKind.END) and not f.started_at]:
                    group.remove(end)
                    self._add(end, self._runs[-1])
            self._add(fact, self._run_of(fact, creations))

    def _add(self, fact: Fact, run: Run) -> None:
        run.add(fact)
        self._by_fact[fact.key] = run

    def _lives_since_one_off(self) -> bool:
        return bool(self._runs) and self._runs[-1].has_one_off_start and not self._runs[-1].over

    def _create(self, created_at: int, at: int) -> None:
        """The vendor created a task: is that the current run, or a new one?"""
        run = self._runs[-1] if self._runs else None
        if run is None or run.over or run.created_at is not None or self._begun_before(run, created_at):
            run = self._open(at)
        run.created_at = created_at
        self._by_creation[created_at] = run

    def _begun_before(self, run: Run, at: int) -> bool:
        signs = [sign for sign in (run.signed_at, run.accepted_by) if sign is not None]
        return bool(signs) and at - max(signs) > self._tolerance_ms

    def _run_of(self, fact: Fact, creations: Sequence[int]) -> Run:
        creation = _creation_of(fact, creations)
        if creation is not None:
            return self._by_creation[creation]
        if fact.about in self._by_fact:
            return self._by_fact[fact.about]
        if not self._runs or self._opens_next(fact, self._runs[-1]):
            return self._open(fact.at)
        return self._runs[-1]

    @staticmethod
    def _opens_next(fact: Fact, run: Run) -> bool:
        match fact.kind:
            case FactKind.INTENT:
                return run.over or run.concluded
            case FactKind.REFUSED:
                return run.over
        if not fact.opens and fact.kind is not FactKind.ACCEPTED:
            return False
        if run.over:
            return True
        return fact.one_off and (run.has_one_off_start or run.concluded)

    def _open(self, at: int) -> Run:
        run = Run(at)
        self._runs.append(run)
        return run


def _created_at(fact: Fact) -> int | None:
    """When the vendor says that it created the task; nothing can happen before."""
    return None if fact.started_at is None else min(fact.started_at, fact.at)


def _creations(course: Sequence[Fact], tolerance_ms: int) -> list[int]:
    """The distinct creation times that the vendor told, ascending: tellings within the tolerance are one."""
    creations: list[int] = []
    for at in sorted({at for fact in course if (at := _created_at(fact)) is not None}):
        if not creations or at - creations[-1] > tolerance_ms:
            creations.append(at)
    return creations


def _creation_of(fact: Fact, creations: Sequence[int]) -> int | None:
    created_at = _created_at(fact)
    return None if created_at is None else creations[bisect_right(creations, created_at) - 1]


def _met(course: Sequence[Fact], creations: Sequence[int], tolerance_ms: int) -> dict[int, int]:
    """Where in the course each creation is met -> when it was.

    A start sign within the tolerance tells the same start: between the two the end of the run before may yet be told.
    """
    signs = [fact.at for fact in course if fact.opens and fact.started_at is None]
    first: dict[int, int] = {}
    for fact in course:
        creation = _creation_of(fact, creations)
        if creation is not None:
            first.setdefault(creation, fact.at)
    met = {}
    for at in creations:
        following = bisect_right(signs, at)
        sign = signs[following] if following < len(signs) else None
        met[sign if sign is not None and sign <= min(at + tolerance_ms, first[at]) else at] = at
    return met


def _by_time(course: Sequence[Fact], marks: Collection[int]) -> Iterator[tuple[int, list[Fact]]]:
    groups = {at: list(group) for at, group in groupby(course, key=lambda fact: fact.at)}
    for at in sorted({*groups, *marks}):
        yield at, groups.get(at, [])


def _assign_files(runs: list[Run], files: Sequence[Fact]) -> None:
    """An upload or file belongs to the newest run whose capture ended no later and whose upload is open, else to where it falls."""
    closed = {id(run) for run in runs for fact in run.facts if fact.delivery is Delivery.OVER}
    for fact in files:
        index = _newest_open(runs, fact, closed)
        if index is None:
            index = _falls_into(runs, fact)
        runs[index].facts.append(fact)
        if fact.delivery in (Delivery.OVER, Delivery.WITH_CAPTURE):
            closed.add(id(runs[index]))


def _newest_open(runs: Sequence[Run], fact: Fact, closed: set[int]) -> int | None:
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        if run.capture_end_at is not None and run.capture_end_at <= fact.at and id(run) not in closed:
            return index
    return None


def _falls_into(runs: list[Run], fact: Fact) -> int:
    for index in range(len(runs) - 1, -1, -1):
        run = runs[index]
        if run.begins_at < fact.at or (run.begins_at == fact.at and not (index and runs[index - 1].has_one_off_start)):
            return index
    if runs and not runs[0].starts_within:
        return 0
    # Files come after a capture, so files older than the first start belong to a run of which nothing else was heard.
    runs.insert(0, Run(fact.at))
    return 0


def _assign_conclusions(runs: Sequence[Run], conclusions: Sequence[Fact]) -> None:
    """What was concluded of a task that a fact about files had made goes where that fact went."""
    holder = {fact.key: run for run in runs for fact in run.facts}
    for fact in conclusions:
        holder[fact.about or ""].add(fact)
