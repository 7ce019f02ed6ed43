"""The settings: one frozen value, read once when a process starts.

A value comes from the last of these that has it: its default, the TOML file (`--config`, else TALLY_CONFIG, else ./tally.toml if
it exists), the environment (`TALLY_SECTION__KEY`), the command line. `load` reports all problems at once: the key, the place that
its value came from and what would be right; never the value, which may be a secret in the wrong place.

model     - the sections and keys, with meaning, default and limits; a new section is a dataclass there
values    - types of values (secrets, roles) and checks of urls, networks and tokens
sources   - reads raw values from file, environment and command line, with their places
casts     - converts raw values to the model's types
checks    - checks that need several values
loading   - `load`, which puts these together
problems  - one problem, and the error that carries all of them
warnings  - advice about settings that work but are unwise
table     - prints the model as the README's table
"""

from adapters.settings.loading import load
from adapters.settings.model import (
    AccountSettings,
    AppSettings,
    DatabaseSettings,
    DeliverySettings,
    OutboundSettings,
    QueueSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    StreamSettings,
    TokenSettings,
)
from adapters.settings.problems import SettingsError, SettingsProblem
from adapters.settings.table import settings_table
from adapters.settings.values import Role, Secret

__all__ = [
    "AccountSettings",
    "AppSettings",
    "DatabaseSettings",
    "DeliverySettings",
    "OutboundSettings",
    "QueueSettings",
    "Role",
    "Secret",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SettingsProblem",
    "SpoolSettings",
    "StreamSettings",
    "TokenSettings",
    "load",
    "settings_table",
]
