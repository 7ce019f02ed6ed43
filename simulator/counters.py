"""The counters of a world, for audits."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counters:
    """Counters by vendor and event."""

    #: "<vendor> made | lost | doubled | delayed | sent | delivered | retried | given_up". `sent` counts attempts.
    callbacks: Counter[str] = field(default_factory=Counter)
    #: "<vendor> <action>": calls with a valid signature.
    calls: Counter[str] = field(default_factory=Counter)
    #: "<vendor> <action>": calls beyond the vendor's quota.
    quota_breaches: Counter[str] = field(default_factory=Counter)
    #: "<vendor> <code>": errors returned, for any call.
    errors: Counter[str] = field(default_factory=Counter)
    #: "<vendor> ambiguous | vanish | slow | throttle | refuse | forget".
    faults: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {name: dict(sorted(getattr(self, name).items())) for name in self.__slots__}
