"""A further sink is one file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import downstream
from adapters.downstream import open_sinks
from adapters.settings import Settings

PIGEON = """
class Pigeon:
    type = "{type}"

def open_sink(settings):
    return Pigeon()
"""


@pytest.fixture
def loft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A further folder of the package."""
    monkeypatch.setattr(downstream, "__path__", [*downstream.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("adapters.downstream.pigeon", None)


def test_there_are_webhooks_and_redis_streams():
    sinks = open_sinks(Settings())
    assert {name: sink.signed for name, sink in sinks.items()} == {"redis": False, "webhook": True}


def test_each_says_what_it_must_be_given():
    for name, sink in open_sinks(Settings()).items():
        assert sink.SCHEMA["properties"]["type"] == {"const": name}
        assert sink.SCHEMA["required"] == list(sink.SCHEMA["properties"])


def test_a_file_with_a_sink_is_found(loft: Path):
    (loft / "pigeon.py").write_text(PIGEON.format(type="pigeon"))
    assert list(open_sinks(Settings())) == ["pigeon", "redis", "webhook"]


def test_two_sinks_of_one_type_are_refused(loft: Path):
    (loft / "pigeon.py").write_text(PIGEON.format(type="webhook"))
    with pytest.raises(ValueError, match="two sinks are of the type webhook"):
        open_sinks(Settings())
