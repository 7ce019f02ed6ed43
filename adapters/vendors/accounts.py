"""The account that signs the calls for an app, and the quota of a call. Vendors count calls per account and API."""

import hashlib

from adapters.settings import Settings
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account

#: Width of the column `quotas.bucket`, characters; in longer bucket names the account is hashed.
_LONGEST = 255
#: Limit, calls/s, for an API that no vendor has (any more): its calls are not made, and other calls must not wait for them.
_UNKNOWN_PER_S = 1.0


class Accounts:
    """The accounts of the settings, by app."""

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
        self._account_of = {app: accounts[app[0], name] for app, name in named.items()}
        # Vendors do not know our names of accounts: entries with the same access key share one quota.
        first = {(a.vendor, a.access_key_id): a.name for a in reversed(settings.accounts)}
        self._name_of = {app: first[app[0], account.access_key_id] for app, account in self._account_of.items()}

    def account_of(self, vendor: str, app_id: str) -> Account | None:
        """Returns the account that signs calls for this app; None if it has none: its tasks are only observed."""
        return self._account_of.get((vendor, app_id))

    def can_call(self, vendor: str, app_id: str) -> bool:
        """Returns whether calls can be made for this app."""
        return (vendor, app_id) in self._account_of

    def quota_bucket(self, vendor: str, app_id: str, action: str) -> str:
        """Returns the name of the quota bucket that a call counts against: `vendor/account/action`."""
        name = self._name_of.get((vendor, app_id), "")
        if len(vendor) + len(name) + len(action) + 2 > _LONGEST:
            name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{vendor}/{name}/{action}"

    def quota_limit(self, bucket: str) -> float:
        """Returns the vendor's limit for a quota bucket, calls/s."""
        vendor, _, rest = bucket.partition("/")
        dialect = DIALECTS.get(vendor)
        try:
            return float(dialect.quota(rest.rpartition("/")[2])) if dialect is not None else _UNKNOWN_PER_S
        except KeyError:
            return _UNKNOWN_PER_S
