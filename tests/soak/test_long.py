"""Five hundred kills of a server under load; `make test` has twelve. Takes minutes."""

from pathlib import Path

import pytest

from tests.processes import test_kill


@pytest.mark.soak
def test_killed_five_hundred_times_it_loses_nothing_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(test_kill, "KILLS", 500)
    test_kill.test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path)
