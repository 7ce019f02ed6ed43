"""Downstream: sinks, the ways by which events leave Tallylight. One protocol (`sink`), one module per type of sink.

A sink validates the target in a subscription (`parse`, `SCHEMA`), masks it for readers (`masked`), and sends one message once
(`send`): it returns a `SendResult` and never raises. When to send, whether to retry and when to give up is decided by the workers;
sinks do not know the ledger. Target-specific terms stay in this package.

* `sink` - the protocol of sinks, messages and results, in no target's terms.
* `webhook` - POSTs events to a url.
* `ssrf_guard` - the addresses that webhooks may reach.
* `signing` - signatures of webhooks.
* `redis_stream` - adds events to a Redis stream.
"""

from collections.abc import Mapping
from types import MappingProxyType

from adapters.downstream import redis_stream, webhook
from adapters.downstream.sink import Failure, Message, SendResult, Sink
from adapters.settings import Settings

__all__ = ["Failure", "Message", "SendResult", "Sink", "open_sinks"]

#: Opens each sink. A further sink is a module in this package and a line here.
_OPENERS = (redis_stream.open_sink, webhook.open_sink)


def open_sinks(settings: Settings) -> Mapping[str, Sink]:
    """Returns all sinks by their type. They connect on first use."""
    sinks: list[Sink] = [open_sink(settings) for open_sink in _OPENERS]
    return MappingProxyType({sink.type: sink for sink in sinks})
