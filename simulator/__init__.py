"""A simulated vendor: accepts signed API calls, runs tasks by a seed, sends signed callbacks. Run by `tally simulate`.

`World` is pure and has a virtual clock; `server` puts a real clock and a network around it. Everything specific to a vendor
(signatures, error codes, callbacks, effects of calls) is under `vendors`; parameters are checked by the dialects' own tables.

world            - `World`: all tasks, calls and callbacks on a virtual clock
world_changes    - the changes of tasks, by their scripts and by calls
life_script      - writes the script of a task's life before it begins
tasks            - the tasks of the vendors, and the index of them
plan             - probabilities of ends (`Plan`) and of faults (`Faults`)
seeded_random    - random values that depend on a seed and names only
gateway          - answers calls: signature, quota, faults, parameters, effect
quotas           - counts calls against the vendors' limits
outbox           - callbacks on their way: lost, doubled, delayed, retried
messages         - requests, replies, refusals and callbacks as values
protocol         - what each vendor implements, and what it may do to the world
vendors          - the simulated vendors
truth            - the true history of each task, for audits
counters         - counters of calls, callbacks and faults, for audits
clock            - the clock of a world that runs faster than real time
realtime         - runs a world in real time
callback_sender  - sends one callback over HTTP
server           - the ASGI application and its server
demo             - a step of the demonstration
command          - `tally simulate`
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
    "GatewayReply",
    "Plan",
    "Truth",
    "World",
]
