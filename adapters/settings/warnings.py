"""Tells what works, and is unwise."""

from collections import defaultdict
from collections.abc import Iterator

from adapters.settings.model import App, Settings

#: A callback secret that is shorter can be found by trying, from one callback that somebody has read, characters.
_SHORT = 12


def warnings_of(settings: Settings) -> Iterator[str]:
    """Sentences for people, without secrets."""
    yield from _shared_secrets(settings)
    for app in settings.apps:
        if any(len(secret.reveal()) < _SHORT for secret in app.callback_secrets):
            about = f"app {app.vendor} {app.app_id} has a callback secret of fewer than {_SHORT} characters"
            yield f"{about}: it can be found by trying"


def _shared_secrets(settings: Settings) -> Iterator[str]:
    """Not every vendor signs whose app it is: what one app's callbacks are signed with must be no other's."""
    holders: dict[tuple[str, str], list[App]] = defaultdict(list)
    for app in settings.apps:
        for text in {secret.reveal() for secret in app.callback_secrets}:
            holders[app.vendor, text].append(app)
    for (vendor, _), apps in holders.items():
        if len(apps) > 1:
            names = ", ".join(app.app_id for app in apps)
            about = f"apps {names} at {vendor} share a callback secret"
            yield f"{about}: a callback of one may be believed for the other; give each its own"
