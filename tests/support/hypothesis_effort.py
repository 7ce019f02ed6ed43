"""How hard property tests try: `make soak` multiplies their examples by TALLY_SOAK."""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("TALLY_SOAK", "1"))


def effort(examples: int) -> settings:
    """Settings for a property that `make test` shows with this many examples."""
    return settings(max_examples=examples * FACTOR, deadline=None, suppress_health_check=list(HealthCheck) if FACTOR > 1 else [])
