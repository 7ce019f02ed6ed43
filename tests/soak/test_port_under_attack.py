"""Half a minute of each attack: every signed callback is answered 200 and in time, and nothing is left of the attack afterwards."""

from pathlib import Path

import pytest

from tests.support.attacked_server import GROWTH_MB, P99_S, attack, attacked
from tests.support.attackers import ATTACKS

pytestmark = pytest.mark.soak
SECONDS = 30
#: What the attacker still holds is closed by the longest of the server's deadlines: those for an answer that is not taken, s.
SETTLES_S = 60


@pytest.mark.parametrize("name", ATTACKS)
def test_callbacks_are_answered_in_time_under(tmp_path: Path, name: str):
    with attacked(tmp_path, large=200, limits="keep_alive_s = 15\n") as server:
        found = attack(server, name, SECONDS, settles_s=SETTLES_S)
    assert found.failed == []
    assert found.p99_s < P99_S
    assert found.growth_mb < GROWTH_MB
