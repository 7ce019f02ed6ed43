"""Limits the number of files and outputs that are kept per task.

The limits lie far above what a real task needs. Whatever exceeds them can still be read in the list of callbacks, in the vendor's
own words.
"""

from statemachine.facts import Fact
from statemachine.fast_dataclasses import fast_replace

#: Files per task at most; the first ones (in the order of facts) are kept.
MAX_FILES = 5_000
#: Outputs per task at most; those with the newest facts are kept.
MAX_OUTPUTS = 64


def limit_files(fact: Fact) -> Fact:
    """Returns the fact with at most `MAX_FILES` + 1 files; the extra one marks the list as truncated."""
    return fact if len(fact.files) <= MAX_FILES + 1 else fast_replace(fact, files=fact.files[: MAX_FILES + 1])
