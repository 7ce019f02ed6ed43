"""Downstream: the ways by which events leave the house. One protocol (`sink`), one file per way.

A sink says what a subscription must tell of its target (`read`, `SCHEMA`), how a reader sees that (`shown`), and sends one message
once (`send`): any target in, an `Answer` out, never an exception. When to send, whether to try again and when to give up is not its
matter; nor is the ledger. A target's words stop here.

A further sink is a file in this folder with a function `open_sink(settings)`; nothing else names it. `webhook` POSTs, and what it
may reach is `addresses`' matter, what proves the sender `signing`'s; `redis_stream` adds to a stream.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from adapters.downstream.sink import Answer, Failure, Message, Sink
from adapters.settings import Settings

__all__ = ["Answer", "Failure", "Message", "Sink", "open_sinks"]


def open_sinks(settings: Settings) -> Mapping[str, Sink]:
    """All sinks by their type, in the order of their files' names. They connect when they are first used."""
    sinks: dict[str, Sink] = {}
    for sink in _opened(settings):
        if sink.type in sinks:
            raise ValueError(f"two sinks are of the type {sink.type}")
        sinks[sink.type] = sink
    return MappingProxyType(sinks)


def _opened(settings: Settings) -> Iterator[Sink]:
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        if hasattr(module, "open_sink"):
            yield module.open_sink(settings)
