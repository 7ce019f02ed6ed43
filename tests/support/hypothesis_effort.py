"""The number of examples of property tests: TALLY_EFFORT multiplies it (`make quick`: 0.1, `make soak`: 40)."""

import os

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("TALLY_EFFORT", "1"))
#: A property needs at least these many examples to show anything.
_FEWEST = 10


def effort(examples: int) -> settings:
    """Returns settings for a property that `make test` shows with this number of examples."""
    return settings(
        max_examples=max(_FEWEST, round(examples * FACTOR)),
        deadline=None,
        suppress_health_check=list(HealthCheck) if FACTOR > 1 else [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
