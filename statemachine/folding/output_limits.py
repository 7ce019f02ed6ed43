"""Limits how many files and outputs of one task are kept, whatever its vendor sends.

The limits lie far above what a real task needs; what goes beyond them stays in the list of callbacks, in the vendor's own words.
"""

from statemachine.facts import Fact
from statemachine.fast_dataclasses import changed

#: Files of one task that are kept: those that were told first (in the order of facts).
MOST_FILES = 5_000
#: Outputs of one task that are kept: those that were told last.
MOST_OUTPUTS = 64


def bounded(fact: Fact) -> Fact:
    """Returns the fact with at most one file more than a task keeps: that one says that there are more."""
    return fact if len(fact.files) <= MOST_FILES + 1 else changed(fact, files=fact.files[: MOST_FILES + 1])
