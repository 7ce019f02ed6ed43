"""Repeatable random values: the same names give the same values, independent of all other draws."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededRandom:
    """Random values that depend on `names` alone, so that one task does not influence another."""

    def __init__(self, *names: object) -> None:
        digest = hashlib.sha256("\x00".join(map(str, names)).encode("utf-8", "surrogatepass")).digest()
        self._random = random.Random(digest)  # noqa: S311 - simulation, not security

    def happens(self, probability: float) -> bool:
        """Returns True with this probability."""
        return self._random.random() < probability

    def integer_between(self, low: int, high: int) -> int:
        """Returns a whole number from low to high, both included; low if high is less."""
        return self._random.randint(low, max(low, high))

    def one_of(self, choices: Sequence[T]) -> T:
        """Returns one of the choices."""
        return choices[self.integer_between(0, len(choices) - 1)]

    def weighted_choice(self, probabilities: Mapping[T, float]) -> T | None:
        """Returns one of the keys with its probability; None with the rest of 1."""
        rest = self._random.random()
        for choice, probability in probabilities.items():
            rest -= probability
            if rest < 0:
                return choice
        return None

    def random_text(self, alphabet: str, length: int) -> str:
        """Returns random letters of an alphabet."""
        return "".join(self._random.choices(alphabet, k=length))
