"""What is wrong with a configuration, as values."""

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.text import closest_word


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    #: As in `apps[1].callback_secrets[0]`; empty where the whole file is concerned.
    key: str
    #: The file's path, the environment variable's name or the command line's flag.
    place: str
    #: What would be right, to be read after the key: "must be ...". Holds no value.
    right: str

    def __str__(self) -> str:
        return f"{self.key} ({self.place}): {self.right}" if self.key else f"{self.place}: {self.right}"


class SettingsError(Exception):
    """The configuration is not good; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A closing question such as "; did you mean port?", or the known words where none is near."""
    names = sorted(known)
    near = closest_word(word, names)
    return f"; did you mean {near}?" if near else f"; known: {', '.join(names) or 'none'}"
