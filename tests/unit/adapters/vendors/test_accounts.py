"""Accounts are found by app, and quotas by account and action."""

import pytest

from adapters.settings import AccountSettings, AppSettings, Secret, Settings
from adapters.vendors.accounts import Accounts
from adapters.vendors.calls import Account as Signer


def account(name: str, vendor: str = "volcengine", key: str = "ak", endpoint: str = "") -> AccountSettings:
    return AccountSettings(
        name=name, vendor=vendor, access_key_id=key, secret_access_key=Secret("sk"), endpoint=endpoint, region="r"
    )


def app(app_id: str, of: str | None, vendor: str = "volcengine") -> AppSettings:
    return AppSettings(vendor=vendor, app_id=app_id, account=of, callback_secrets=(Secret("cb"),))


def accounts(*them: AccountSettings, apps: tuple[AppSettings, ...]) -> Accounts:
    return Accounts(Settings(accounts=them, apps=apps))


def test_the_account_of_an_app_signs_its_calls() -> None:
    known = accounts(account("prod", endpoint="https://e"), account("other", key="ak2"), apps=(app("1", "prod"), app("2", None)))

    signer = Signer(access_key_id="ak", secret_access_key="sk", endpoint="https://e", region="r")
    assert known.account_of("volcengine", "1") == signer
    assert [known.account_of(*whose) for whose in (("volcengine", "2"), ("volcengine", "3"), ("tencent", "1"))] == [None] * 3
    assert [known.can_call("volcengine", app_id) for app_id in ("1", "2", "3")] == [True, False, False]


def test_a_bucket_is_named_by_vendor_account_and_action() -> None:
    known = accounts(account("prod/cn"), apps=(app("1", "prod/cn"), app("2", "prod/cn")))

    assert known.quota_bucket("volcengine", "1", "StartRecord") == known.quota_bucket("volcengine", "2", "StartRecord")
    assert known.quota_bucket("volcengine", "1", "StartRecord") == "volcengine/prod/cn/StartRecord"
    assert known.quota_bucket("volcengine", "9", "StopRecord") == "volcengine//StopRecord"


def test_two_names_of_one_key_share_their_quota() -> None:
    known = accounts(
        account("a"), account("b"), account("c", key="ak2"), account("d", "tencent"),
        apps=(app("1", "a"), app("2", "b"), app("3", "c"), app("4", "d", "tencent")),
    )  # fmt: skip

    buckets = [known.quota_bucket("volcengine", app_id, "StartRecord").split("/")[1] for app_id in "123"]
    assert buckets == ["a", "a", "c"]
    assert known.quota_bucket("tencent", "4", "StartWebRecord") == "tencent/d/StartWebRecord"


def test_a_long_name_still_fits_and_tells_its_limit() -> None:
    names = ("ü" * 400, "ü" * 399)
    known = accounts(*(account(name, key=name) for name in names), apps=tuple(app(name[1:], name) for name in names))

    buckets = {known.quota_bucket("volcengine", name[1:], "StartRecord") for name in names}
    assert len(buckets) == 2
    assert max(len(bucket) for bucket in buckets) <= 255
    assert {known.quota_limit(bucket) for bucket in buckets} == {60}


@pytest.mark.parametrize(
    ("bucket", "limit"),
    [
        ("volcengine/a/b/StartPushMixedStreamToCDN", 150),
        ("volcengine//StartRecord", 60),
        ("tencent/a/StartWebRecord", 20),
        ("tencent/a/StartRecord", 1),
        ("acme/a/StartRecord", 1),
        ("", 1),
    ],
)
def test_the_limit_of_a_bucket_is_that_of_its_api(bucket: str, limit: float) -> None:
    assert accounts(apps=()).quota_limit(bucket) == limit
