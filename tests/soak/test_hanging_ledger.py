"""A PostgreSQL that accepts and never answers: callbacks are spooled, and readiness is told at once all the while."""

import threading
from pathlib import Path

import pytest

from adapters.clock import monotonic_s
from tests.processes.test_diagnostics import serving
from tests.support.postgresql import own_server

pytestmark = pytest.mark.soak
#: Longer than the patience of every part.
HANGS_S = 75


def test_a_server_that_hangs_makes_the_door_degraded_and_nothing_else(tmp_path: Path):
    with (
        own_server() as postgresql,
        (tmp_path / "log").open("wb") as log,
        serving(tmp_path, log, database=postgresql.make_database("tally_hangs")) as server,
    ):
        assert server.hear() == 200
        slowest, seen = 0.0, set()
        with postgresql.suspended():
            until = monotonic_s() + HANGS_S
            while monotonic_s() < until:
                assert server.hear() == 200
                threading.Event().wait(0.1)
                begun = monotonic_s()
                answer = server.ready()
                slowest = max(slowest, monotonic_s() - begun)
                assert answer.status_code == 200, answer.text
                seen |= {part["part"] for part in answer.json().get("parts", [])}
        assert "ledger" in seen
        assert slowest < 1.0
        server.until(lambda: server.ready().json() == {"status": "ready"})
        server.until(lambda: server.recorded() == len(server.taken))
