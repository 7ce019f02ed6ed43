"""A fake vendor: takes signed API calls, lets tasks live on a seed, sends signed callbacks. Part of the product (`tally simulate`).

`World` is pure and has a virtual clock; `server` puts a real clock and a network around it. What is a vendor's own (signatures,
error codes, callbacks, what a call does) stands under `vendors`; parameters are checked by the dialects' own tables.
"""

from simulator.counters import Counters
from simulator.messages import CallbackDelivery, GatewayReply
from simulator.plan import STEADY, Cause, Faults, Plan
from simulator.tasks import App
from simulator.truth import Truth
from simulator.vendors.registry import DEMO_APPS
from simulator.world import World

__all__ = [
    "DEMO_APPS",
    "STEADY",
    "App",
    "CallbackDelivery",
    "Cause",
    "Counters",
    "Faults",
    "Plan",
    "GatewayReply",
    "Truth",
    "World",
]
