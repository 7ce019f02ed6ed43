"""A fake vendor: takes signed API calls, lets tasks live on a seed, sends signed callbacks. Part of the product (`tally simulate`).

`World` is pure and has a virtual clock; `server` puts a real clock and a network around it. What is a vendor's own (signatures,
error codes, callbacks, what a call does) stands under `vendors`; parameters are checked by the dialects' own tables.
"""

from adapters.simulator.counters import Counters
from adapters.simulator.plan import STEADY, Cause, Faults, Plan
from adapters.simulator.tasks import App
from adapters.simulator.truth import Truth
from adapters.simulator.vendors.registry import DEMO_APPS
from adapters.simulator.wire import Callback, Reply
from adapters.simulator.world import World

__all__ = ["DEMO_APPS", "STEADY", "App", "Callback", "Cause", "Counters", "Faults", "Plan", "Reply", "Truth", "World"]
