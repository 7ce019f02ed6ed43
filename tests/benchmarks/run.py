"""All benchmarks, one table.

    .venv/bin/python -m tests.benchmarks.run [QUESTION ...] [--quick] [--callbacks N] [--peers FOLDER] ...

QUESTION: acks (a), throughput (b), size (c and d, which need b), memory (e), telling (f), pages, deadlines, long;
all of them if none is named. Exit status 1: something was lost or doubled. A target that was missed is printed, and is no failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters import logs
from tests.benchmarks import acks, at_size, memory, peers, telling, throughput
from tests.benchmarks.report import Report, circumstances
from tests.benchmarks.rounds import Plan
from tests.benchmarks.stack import Stack, Stores, stores
from tests.benchmarks.stream import STEPS, Stream

QUESTIONS = ("acks", "throughput", "size", "memory", "telling", "pages", "deadlines", "long")
#: Hardly a ledger takes more callbacks a second, nor half of what goes the whole way: so long is the stream.
_MOST, _MOST_BESIDE = 14_000, 6_000
#: Live tasks that are added to see what each takes, and callbacks before that.
_WARM_UP = 2_000
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is measured, and how much."""

    questions: Sequence[str]
    plan: Plan
    tasks: int
    callbacks: int
    #: Seconds of questions beside a load (d); live tasks that are added (e).
    asking_s: float
    live: int
    workers: int
    peers: Path | None
    seed: int
    #: Arguments for the programs that have tables of their own.
    pages: Sequence[str]
    deadlines: Sequence[str]
    long: Sequence[str]


def measure(wanted: Wanted) -> Report:
    report = Report(notes=circumstances())
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as name, stores(Path(name)) as servers:
        folder = Path(name)
        stream = _stream(folder, wanted)
        if "acks" in wanted.questions:
            _say("a: acknowledgements")
            acks.report(acks.measure(folder, servers, stream, wanted.plan), report)
        if {"throughput", "size"} & {*wanted.questions}:
            _measure_throughput(folder, servers, stream, wanted, report)
        if wanted.peers is not None:
            _say("b: the peers")
            _measure_peers(folder, servers, wanted.peers, wanted, report)
        if "telling" in wanted.questions:
            _say("f: events to a subscriber")
            _measure_telling(folder, servers, wanted, report)
    if "memory" in wanted.questions:
        _say("e: memory")
        _measure_memory(wanted, report)
    return report


def _stream(folder: Path, wanted: Wanted) -> Stream:
    plan = wanted.plan
    length = _MOST * (plan.rounds * plan.seconds + plan.warm_up_s) * (2 if "acks" in wanted.questions else 1)
    beside = _MOST_BESIDE * wanted.asking_s if "size" in wanted.questions else 0
    return _made(folder / "stream", wanted.seed, round(length + beside))


def _made(path: Path, seed: int, length: int, steps: Sequence[int] = STEPS) -> Stream:
    """None of its callbacks lies in the future."""
    return Stream(path, seed=seed, start_ms=time.time_ns() // 1_000_000 - length, length=length, steps=steps)


@contextmanager
def _stack(folder: Path, name: str, database: str, queue: str, *roles: str) -> Iterator[Stack]:
    stack = Stack(folder, name, database=database, queue=queue)
    try:
        stack.start(*roles)
        yield stack
    finally:
        stack.close()


def _roles(wanted: Wanted) -> Sequence[str]:
    return ("web", *["work"] * wanted.workers)


def _measure_throughput(folder: Path, servers: Stores, stream: Stream, wanted: Wanted, report: Report) -> None:
    """b and c take turns, and then d is asked of the ledger of c."""
    roles = _roles(wanted)
    with _stack(folder, "PostgreSQL", servers.database("empty"), servers.queue(), *roles) as empty:
        if "size" not in wanted.questions:
            _say("b: the whole way")
            _report_throughput(throughput.measure([empty], stream, wanted.plan), stream, wanted, report)
            return
        _say(f"c: filling with {wanted.tasks:,} tasks and {wanted.callbacks:,} callbacks")
        full = Stack(folder, "PostgreSQL, full", database=servers.database("filled"), queue=servers.queue())
        size = at_size.fill(full.ledger, folder / "templates", tasks_wanted=wanted.tasks, callbacks_wanted=wanted.callbacks)
        about = f"{size.tasks:,} tasks, {size.callbacks:,} callbacks, {size.disk_bytes / 1e9:.1f} GB; filled in {size.took_s:.0f} s"
        report.notes.append(f"c, d: {about}")
        try:
            full.start(*roles)
            _say("b, c: the whole way, on an empty ledger and on a full one")
            courses = throughput.measure([empty, full], stream, wanted.plan)
            empty.stop()
            _say("d: pages and timelines")
            half = sorted(courses[0].rates)[len(courses[0].rates) // 2] / 2
            asked = at_size.ask(full, stream, rate=half, seconds=wanted.asking_s)
            _report_throughput(courses, stream, wanted, report)
            at_size.report(asked, size, report)
        finally:
            full.close()


def _report_throughput(courses: Sequence[throughput.Course], stream: Stream, wanted: Wanted, report: Report) -> None:
    first, *others = courses
    throughput.report(first, report, question="b")
    for course in others:
        throughput.report(course, report, question="c", against=first)
    if wanted.peers is None:
        peers.report_quoted(first.rates, report)
    for course, question in zip(courses, ("b", "c"), strict=False):
        report.findings.append(throughput.audited(course, stream, question))
        report.complaints += course.stack.complaints()


def _measure_peers(folder: Path, servers: Stores, where: Path, wanted: Wanted, report: Report) -> None:
    database, queue = servers.database("beside_peers"), servers.queue()
    with _stack(folder, "beside peers", database, queue, *_roles(wanted)) as stack:
        peers.report(peers.measure(where, stack, seconds=wanted.plan.seconds), report)


def _measure_telling(folder: Path, servers: Stores, wanted: Wanted, report: Report) -> None:
    plan = wanted.plan
    length = round((telling.PACE + _MOST) * (plan.rounds * plan.seconds + plan.warm_up_s))
    everything = _stack(folder, "all in one, SQLite", f"sqlite:///{folder}/telling.db", "", "up")
    split = _stack(folder, "web and work, PostgreSQL", servers.database("telling"), servers.queue(), *_roles(wanted))
    for number, stacked in enumerate((everything, split)):
        stream = _made(folder / f"telling-{number}", wanted.seed + 3, length)
        with stacked as stack, telling.subscribed(stack) as subscriber:
            telling.report(stack, telling.measure(stack, subscriber, stream, plan), report, telling.PACE)
            telling.report_backlog(stack, telling.measure_backlog(stack, subscriber, stream, plan), report)
            report.complaints += telling.complaints(stack, subscriber) + stack.complaints()


def _measure_memory(wanted: Wanted, report: Report) -> None:
    """The servers are new ones: what others have left in their memory is not an idle system's."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as name, stores(Path(name)) as servers:
        folder = Path(name)
        warm_up = _made(folder / "warm-up", wanted.seed + 1, _WARM_UP)
        starts = _made(folder / "starts", wanted.seed + 2, wanted.live, steps=STEPS[:1])
        everything = _stack(folder, "all in one, SQLite", f"sqlite:///{folder}/memory.db", "", "up")
        split = _stack(folder, "web and work, PostgreSQL", servers.database("memory"), servers.queue(), *_roles(wanted))
        for stacked, others in ((everything, {}), (split, servers.pids())):
            with stacked as stack:
                memory.report(memory.measure(stack, warm_up=warm_up, stream=starts, others=others), report)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _run_own(script: str, arguments: Sequence[str], report: Report) -> None:
    """A benchmark with a table of its own, which says by its exit status whether it passes."""
    _say(script)
    done = subprocess.run([sys.executable, str(_HERE / script), *arguments], check=False)
    report.notes.append(f"{script}: {'passes' if done.returncode == 0 else 'FAILS'} (its own table stands above)")


def _wanted(options: argparse.Namespace) -> Wanted:
    quick = options.quick
    plan = Plan(rounds=options.rounds, seconds=options.seconds or (3.0 if quick else 6.0), warm_up_s=1.0 if quick else 2.0)
    return Wanted(
        questions=options.questions or QUESTIONS,
        plan=plan,
        tasks=options.tasks or (20_000 if quick else 500_000),
        callbacks=options.callbacks or (80_000 if quick else 2_000_000),
        asking_s=20.0 if quick else 90.0,
        live=5_000 if quick else 20_000,
        workers=options.workers,
        peers=options.peers,
        seed=options.seed,
        pages=("--tasks", "10000", "--callbacks", "100000", "--rounds", "10") if quick else (),
        deadlines=("--armed", "50000", "--rounds", "3", "--seconds", "10") if quick else (),
        long=("--callbacks", "100", "1000", "--rounds", "1") if quick else (),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: shows that it works, not how fast (BENCH=quick)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of load in each round")
    parser.add_argument("--tasks", type=int, help="that the full ledger has")
    parser.add_argument("--callbacks", type=int, help="that the full ledger has; also 10000000")
    parser.add_argument("--workers", type=int, default=int(os.environ.get("BENCH_WORKERS", "2")), help="processes of `tally work`")
    parser.add_argument("--peers", type=Path, help="the folder with the peers and their run.py (BENCH_PEERS)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    options = parser.parse_args()
    options.quick = options.quick or os.environ.get("BENCH") == "quick"
    if options.peers is None and os.environ.get("BENCH_PEERS"):
        options.peers = Path(os.environ["BENCH_PEERS"])
    unknown = [name for name in options.questions if name not in QUESTIONS]
    if unknown:
        parser.error(f"there is no question {', '.join(unknown)}")
    return options


def main() -> int:
    options = _options()
    wanted = _wanted(options)
    began = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        logs.configure(stream=nowhere)
        report = measure(wanted)
    own = (
        ("pages", "pages.py", wanted.pages),
        ("deadlines", "deadlines.py", wanted.deadlines),
        ("long", "long_tasks.py", wanted.long),
    )
    for name, script, arguments in own:
        if name in wanted.questions:
            _run_own(script, arguments, report)
    report.notes.append(f"took {(time.monotonic() - began) / 60:.0f} minutes")
    print(f"\n{report.text()}")
    if options.json:
        options.json.write_text(json.dumps(report.document(), indent=1) + "\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
