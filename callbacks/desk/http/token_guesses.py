"""Counts wrong tokens by the client's address, and makes clients wait that send many.

A right token never waits: several clients may share an address, for example behind a proxy. The length of tokens makes guessing
hopeless; this limit makes guessing visible, and stops clients that send an old token again and again.
"""

from collections import OrderedDict
from collections.abc import Callable

from adapters.clock import monotonic_s
from callbacks.client_address import client_key

#: Window for counting the wrong tokens of one address, s, and how many of them are answered 401; further ones are answered 429.
WINDOW_S = 60
MAX_WRONG_TOKENS = 10
#: Addresses remembered, the most recent ones; an entry takes about 200 bytes.
_ADDRESSES = 10_000


class WrongTokenLimiter:
    """A counter of wrong tokens for one event loop; not thread-safe. `clock`: monotonic, s."""

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        #: Address -> (end of its window, s; wrong tokens in it).
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def record_wrong_token(self, address: str | None) -> int:
        """Records a wrong token of this address; returns how long the client has to wait, in whole seconds, or 0."""
        now, key = self._clock(), client_key(address or "")
        ends, count = self._seen.pop(key, (0.0, 0))
        if now >= ends:
            ends, count = now + WINDOW_S, 0
        self._seen[key] = (ends, count + 1)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        return 0 if count < MAX_WRONG_TOKENS else max(1, round(ends - now))
