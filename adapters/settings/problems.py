"""The problems of a configuration, as values."""

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.text import closest_word


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsProblem:
    """One wrong, missing or unknown setting."""

    #: The path of the setting (`apps[1].callback_secrets[0]`); empty for a problem of the whole file.
    key: str
    #: The file's path, the environment variable's name or the command line's flag.
    place: str
    #: The requirement, read after the key: "must be ...". Never contains the value.
    right: str

    def __str__(self) -> str:
        return f"{self.key} ({self.place}): {self.right}" if self.key else f"{self.place}: {self.right}"


class SettingsError(Exception):
    """The configuration is wrong; `problems` has all of its problems."""

    def __init__(self, problems: Iterable[SettingsProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean port?" for a similar known word; a list of the known words if none is similar."""
    names = sorted(known)
    near = closest_word(word, names)
    return f"; did you mean {near}?" if near else f"; known: {', '.join(names) or 'none'}"
