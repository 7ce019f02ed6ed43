"""Warnings about settings that work but are unwise."""

from collections import defaultdict
from collections.abc import Iterator

from adapters.settings.model import AppSettings, Settings

#: Characters of a callback secret; a shorter one can be found by brute force from a single intercepted callback.
_SHORT = 12


def warnings_of(settings: Settings) -> Iterator[str]:
    """Yields the warnings as sentences without secrets."""
    yield from _shared_secrets(settings)
    for app in settings.apps:
        if any(len(secret.reveal()) < _SHORT for secret in app.callback_secrets):
            about = f"app {app.vendor} {app.app_id} has a callback secret of fewer than {_SHORT} characters"
            yield f"{about}: it can be guessed by brute force"


def _shared_secrets(settings: Settings) -> Iterator[str]:
    """Yields a warning for each secret of several apps: not every vendor signs the app id, so each app needs its own secret."""
    holders: dict[tuple[str, str], list[AppSettings]] = defaultdict(list)
    for app in settings.apps:
        for text in {secret.reveal() for secret in app.callback_secrets}:
            holders[app.vendor, text].append(app)
    for (vendor, _), apps in holders.items():
        if len(apps) > 1:
            names = ", ".join(app.app_id for app in apps)
            about = f"apps {names} at {vendor} share a callback secret"
            yield f"{about}: a callback of one can be passed off as the other's; give each app its own"
