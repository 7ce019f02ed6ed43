"""The table of sinks."""

from adapters.downstream import open_sinks
from adapters.settings import Settings


def test_there_are_webhooks_and_redis_streams():
    sinks = open_sinks(Settings())
    assert {name: sink.signed for name, sink in sinks.items()} == {"redis": False, "webhook": True}


def test_each_schema_requires_all_members_and_names_its_type():
    for name, sink in open_sinks(Settings()).items():
        assert sink.SCHEMA["properties"]["type"] == {"const": name}
        assert sink.SCHEMA["required"] == list(sink.SCHEMA["properties"])
