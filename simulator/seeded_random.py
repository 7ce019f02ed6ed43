"""Chance that repeats: the same names give the same throws, whatever else was thrown before."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededRandom:
    """Throws that follow from `names` alone, so that one task's fate does not hang on another's."""

    def __init__(self, *names: object) -> None:
        digest = hashlib.sha256("\x00".join(map(str, names)).encode("utf-8", "surrogatepass")).digest()
        self._random = random.Random(digest)  # noqa: S311 - a story's chance, no secret's

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def integer_between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included; low where high is less."""
        return self._random.randint(low, max(low, high))

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.integer_between(0, len(choices) - 1)]

    def weighted_choice(self, probabilities: Mapping[T, float]) -> T | None:
        """One of these with its probability; None with what is left of 1."""
        rest = self._random.random()
        for choice, probability in probabilities.items():
            rest -= probability
            if rest < 0:
                return choice
        return None

    def random_text(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))
