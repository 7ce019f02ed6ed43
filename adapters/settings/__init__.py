"""One frozen settings value, read once by whoever starts the process.

A value comes from, last one wins: its default, the TOML file (`--config`, else TALLY_CONFIG, else ./tally.toml if there
is one), the environment (`TALLY_SECTION__KEY`), the command line. `load` reports everything that is wrong at once: the key,
the place that its value came from and what would be right; never the value, which may be a secret in the wrong place.

`model` says what there is (of `values`), `sources` finds raw values and remembers their places, `casts` makes them what the model
wants, `checks` compares them with each other, `table` prints the model for the README. A new section is a dataclass in `model`.
"""

from adapters.settings.loading import load
from adapters.settings.model import Account, App, Database, Deliveries, Outbound, Queue, Server, Settings, Spool, Streams, Token
from adapters.settings.problems import Problem, SettingsError
from adapters.settings.table import settings_table
from adapters.settings.values import Role, Secret

__all__ = [
    "Account",
    "App",
    "Database",
    "Deliveries",
    "Outbound",
    "Problem",
    "Queue",
    "Role",
    "Secret",
    "Server",
    "Settings",
    "SettingsError",
    "Spool",
    "Streams",
    "Token",
    "load",
    "settings_table",
]
