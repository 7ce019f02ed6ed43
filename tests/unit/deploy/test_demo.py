"""The demonstration's configuration is the simulator's."""

from pathlib import Path

from adapters.settings import load
from adapters.vendors.accounts import Accounts
from adapters.vendors.registry import vendor_names
from simulator.vendors.registry import DEMO_APPS

DEMO = Path(__file__).parents[3] / "deploy" / "demo.toml"


def test_the_demo_believes_the_simulators_apps():
    settings = load(DEMO, {}, vendors=vendor_names())
    told = {(app.vendor, app.app_id, app.callback_secrets[0].reveal()) for app in settings.apps}
    assert told == {(app.vendor, app.app_id, app.callback_secret) for app in DEMO_APPS}


def test_the_demo_calls_the_simulator_with_its_own_keys():
    accounts = Accounts(load(DEMO, {}, vendors=vendor_names()))
    for app in DEMO_APPS:
        account = accounts.account_of(app.vendor, app.app_id)
        assert account is not None
        assert (account.access_key_id, account.secret_access_key) == (app.access_key_id, app.secret_access_key)
        assert account.endpoint == "http://127.0.0.1:8090"
