"""The demonstration's configuration is the simulator's."""

from pathlib import Path

from adapters.settings import load
from adapters.simulator.vendors.registry import DEMO_APPS

DEMO = Path(__file__).parents[2] / "deploy" / "demo.toml"


def test_the_demo_believes_the_simulators_apps():
    settings = load(DEMO, {})
    told = {(app.vendor, app.app_id, app.callback_secrets[0].reveal()) for app in settings.apps}
    assert told == {(app.vendor, app.app_id, app.callback_secret) for app in DEMO_APPS}
