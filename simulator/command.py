"""`tally simulate`: its flags and its run."""

import argparse
import signal
import sys

from adapters.clock import now_ms
from adapters.process.terminal import print_lines
from simulator.clock import WorldClock
from simulator.plan import STEADY, Faults, Plan
from simulator.realtime import Simulation
from simulator.server import Server, make_app
from simulator.vendors.registry import DEMO_APPS, DEMO_STEPS
from simulator.world import World

CALLBACK_URL = "http://127.0.0.1:8080/callbacks/{vendor}"
#: The plan of the demonstration: tasks last a few minutes.
_SHORT_LIVES = Plan(shortest_s=40, longest_s=150)
_FAULTS = {
    "lose": "that a callback is never sent",
    "double": "that a callback is sent twice",
    "delay": "that a callback is late, and so out of order",
    "ambiguous": "that a call is done, and the connection dropped without an answer",
    "vanish": "that the connection is dropped before a call is done",
    "slow": "that a call is done, and its answer delayed by --slow-s",
    "throttle": "that a call is refused by the rate limit",
    "forget": "that the vendor forgets a task",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="the port; 0: any free one (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random events (default: %(default)s)")
    parser.add_argument(
        "--callback-url",
        default=CALLBACK_URL,
        metavar="URL",
        help="url for callbacks, {vendor} is replaced by the vendor's name; empty: not sent (default: %(default)s)",
    )
    parser.add_argument("--speed", type=_parse_speed, default=1, help="how many times faster than real time tasks run (default: 1)")
    for name, meaning in _FAULTS.items():
        parser.add_argument(f"--{name}", type=_parse_probability, default=0.0, metavar="P", help=f"probability {meaning}")
    parser.add_argument("--max-delay", type=float, default=120.0, metavar="S", help="of --delay and --double (default: 120)")
    parser.add_argument("--slow-s", type=float, default=15.0, metavar="S", help="delay of --slow (default: %(default)s)")
    parser.add_argument("--steady", action="store_true", help="no random events: only calls change tasks")
    parser.add_argument("--demo", action="store_true", help="start a handful of tasks that run for a few minutes")


def _parse_probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value


def _parse_speed(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 up")
    return value


def make_simulation(options: argparse.Namespace) -> Simulation:
    """Returns the simulation that the flags describe. Needs a running event loop."""
    faults = Faults(**{name: getattr(options, name) for name in _FAULTS}, max_delay_s=options.max_delay, slow_s=options.slow_s)
    start = now_ms()
    plan = _SHORT_LIVES if options.demo else STEADY if options.steady else Plan()
    world = World(options.seed, faults, start, plan=plan, speed=options.speed)
    return Simulation(world, WorldClock(now_ms, start, options.speed), options.callback_url, log_line=_print_line)


def run(options: argparse.Namespace) -> int:
    """Serves until interrupted; returns the exit status."""
    app = make_app(lambda: make_simulation(options), DEMO_STEPS if options.demo else ())
    server = Server(app, options.host, options.port, lambda port: _print_greeting(options, port))
    for number in (signal.SIGTERM, signal.SIGINT):  # the server handles the signal itself, then raises it again
        signal.signal(number, lambda *_: None)
    server.run()
    return 0 if server.started else 1


def _print_greeting(options: argparse.Namespace, port: int) -> None:
    _print_line(
        f"simulated vendor on http://{options.host}:{port}, seed {options.seed}; callbacks go to {options.callback_url or 'nobody'}"
    )
    for app in DEMO_APPS:
        account = f"access key {app.access_key_id} / {app.secret_access_key}"
        _print_line(f"{app.vendor} app {app.app_id}, callback secret {app.callback_secret}, {account}")


def _print_line(line: str) -> None:
    print_lines(line)
    sys.stdout.flush()
