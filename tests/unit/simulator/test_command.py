"""The flags of `tally simulate`."""

import argparse
import asyncio

import pytest

from simulator.command import CALLBACK_URL, add_arguments, make_simulation


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_without_flags_a_world_runs_as_fast_as_clocks_and_nothing_goes_wrong():
    found = options()
    assert (found.host, found.port, found.seed, found.speed, found.demo) == ("127.0.0.1", 8090, 1, 1, False)
    assert (found.callback_url, found.lose, found.ambiguous) == (CALLBACK_URL, 0.0, 0.0)


@pytest.mark.parametrize("arguments", [("--lose", "1.1"), ("--throttle", "-1"), ("--speed", "0"), ("--speed", "x")])
def test_impossible_flags_are_refused(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        options(*arguments)
    assert arguments[0] in capsys.readouterr().err


def test_the_flags_make_a_world():
    async def made() -> str:
        running = make_simulation(options("--seed", "5", "--lose", "0.5", "--speed", "60", "--demo"))
        return type(running.world).__name__

    assert asyncio.run(made()) == "World"
