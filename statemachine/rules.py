"""Rules: what a vendor guarantees and limits for a kind of task. The dialects derive them from documents and start parameters."""

from dataclasses import dataclass

#: Maximum difference between our clock and a vendor's, ms: times of the two are compared with this tolerance.
CLOCK_SKEW_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Properties of one vendor's tasks of one kind, partly derived from a task's parameters. Times in s unless named otherwise."""

    #: The vendor assigns the ids, so a key never has more than one run.
    single_run: bool = False
    #: The task has one output url at a time; a new url replaces the old one.
    single_output: bool = False
    #: Two reported times that differ by at most this may mean the same start.
    start_tolerance_ms: int = 5_000
    #: Maximum lifetime; None: unlimited.
    life_s: float | None = None
    #: An end up to this long before the maximum lifetime still counts as `expired`.
    life_margin_s: float = 0
    #: Time without a publisher after which the vendor ends the task; None: it does not.
    idle_s: float | None = None
    #: Time after the capture's end within which files are awaited.
    finish_s: float = 24 * 3600
    #: As `finish_s`, for a run without any upload event; None: no difference.
    finish_unheard_s: float | None = None
    #: Time from the start within which the vendor answers queries and stop calls; None: unlimited.
    reach_s: float | None = None
    #: Whether a query call can tell how a task is doing.
    askable: bool = False
    #: As `askable`, before the vendor's id is known.
    askable_unnamed: bool = False
    #: Whether an ambiguous start call can be repeated without the task running twice.
    repeatable: bool = False
    #: A repeated start replaces the task that the one before created.
    replaces: bool = False
    #: A task that began within this time of an ambiguous start call is taken to be its result; None: the robot's user id decides.
    meets_s: float | None = None
    #: Time without news from the vendor after which a query is sent.
    silence_s: float = 900
    #: Whether the vendor can be called at all: an account is configured.
    callable: bool = False
