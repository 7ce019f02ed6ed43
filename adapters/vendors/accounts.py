"""Who signs the calls for an app, and which quota a call is under: a vendor counts calls per account and API."""

import hashlib

from adapters.settings import Settings
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account

#: A longer name of a bucket goes into no column.
_LONGEST = 255
#: For an API that no vendor of ours has (any more): its calls will not be made, and nothing else must wait for them.
_UNKNOWN_PER_S = 1.0


class Accounts:
    """The accounts of the settings, found by app."""

    def __init__(self, settings: Settings) -> None:
        accounts = {
            (account.vendor, account.name): Account(
                access_key_id=account.access_key_id,
                secret_access_key=account.secret_access_key.reveal(),
                endpoint=account.endpoint,
                region=account.region,
            )
            for account in settings.accounts
        }
        named = {(app.vendor, app.app_id): app.account for app in settings.apps if app.account is not None}
        self._account_of = {whose: accounts[whose[0], name] for whose, name in named.items()}
        # The vendor knows no names: entries with the same key are one account to it.
        first = {(a.vendor, a.access_key_id): a.name for a in reversed(settings.accounts)}
        self._name_of = {whose: first[whose[0], account.access_key_id] for whose, account in self._account_of.items()}

    def account_of(self, vendor: str, app_id: str) -> Account | None:
        """Who signs calls for this app; None: nobody does, its tasks are only observed."""
        return self._account_of.get((vendor, app_id))

    def callable(self, vendor: str, app_id: str) -> bool:
        """Whether calls can be made for this app."""
        return (vendor, app_id) in self._account_of

    def bucket(self, vendor: str, app_id: str, action: str) -> str:
        """The name of the quota that this call is under: `vendor/account/action`."""
        name = self._name_of.get((vendor, app_id), "")
        if len(vendor) + len(name) + len(action) + 2 > _LONGEST:
            name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{vendor}/{name}/{action}"

    def limit(self, bucket: str) -> float:
        """The calls/s that the vendor allows there."""
        vendor, _, rest = bucket.partition("/")
        dialect = DIALECTS.get(vendor)
        try:
            return float(dialect.quota(rest.rpartition("/")[2])) if dialect is not None else _UNKNOWN_PER_S
        except KeyError:
            return _UNKNOWN_PER_S
