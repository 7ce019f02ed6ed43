"""A story for newcomers: start and stop calls at fixed times; the rest is the world's seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.tasks import App


@dataclass(frozen=True, slots=True)
class Step:
    """Starts a task so many seconds after the beginning, and stops it later, if at all."""

    after_s: int
    app: App
    action: str
    params: Mapping[str, Any]
    stop_after_s: int | None = None
