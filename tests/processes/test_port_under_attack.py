"""Whatever is done at the port, signed callbacks are answered in time: a short share of tests/soak/test_port_under_attack.py."""

from collections.abc import Iterator

import pytest

from tests.support.attacked_server import GROWTH_MB, Attacked, attack, attacked

#: A client that is cut after less time than by default leaves sooner.
LIMITS = "head_timeout_s = 2\nbody_timeout_s = 2\nkeep_alive_s = 2\n"
#: Other tests run beside this one, so this is no measurement: it must stay below the 5 s after which vendors give up. The soak test
#: holds the server to 1 s.
BUSY_P99_S = 3.0
#: Of each attack, s; and how long what is left of it may take to go.
SECONDS, SETTLES_S = 1.5, 15


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with attacked(tmp_path_factory.mktemp("attacked"), large=100, limits=LIMITS) as made:
        yield made


@pytest.mark.parametrize("name", ["slow-heads", "slow-bodies", "forged", "dear-queries", "answers-not-taken"])
def test_callbacks_are_answered_in_time_under(server: Attacked, name: str):
    found = attack(server, name, SECONDS)
    assert found.failed == []
    assert found.p99_s < BUSY_P99_S
    assert found.growth_mb < GROWTH_MB


def test_silent_connections_cost_no_callback_and_are_closed_by_the_server(server: Attacked):
    found = attack(server, "idle", SECONDS, settles_s=SETTLES_S)
    assert found.failed == []
    assert found.p99_s < BUSY_P99_S
    assert 200 < found.connections < 300, "max_waiting_per_client is 256"
