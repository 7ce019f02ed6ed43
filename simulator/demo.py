"""A step of the demonstration: start and stop calls at fixed times. All else follows from the seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.tasks import App


@dataclass(frozen=True, slots=True)
class Step:
    """A task that is started `after_s` seconds after the beginning, and stopped after `stop_after_s`, if given."""

    after_s: int
    app: App
    action: str
    params: Mapping[str, Any]
    stop_after_s: int | None = None
