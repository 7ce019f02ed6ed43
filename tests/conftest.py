"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: Tests that start whole processes.
PROCESSES = Path(__file__).parent / "processes"

settings.register_profile("ci", derandomize=True, suppress_health_check=[HealthCheck.too_slow])
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests of whole processes first: they take long, mostly wait, and would leave a core idle at the end."""
    items.sort(key=lambda item: item.path.parent != PROCESSES)
