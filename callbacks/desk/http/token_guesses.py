"""Counts wrong tokens by the address that they came from, so that whoever guesses is told to wait.

A right token is never held up by this: several clients may share an address, as behind a proxy. What makes guessing hopeless is the
length of tokens; this makes it visible, and stops clients that send an old token without end.
"""

from collections import OrderedDict
from collections.abc import Callable

from adapters.clock import monotonic_s
from callbacks.client_address import client_key

#: Wrong tokens of one address within this time, s, and how many of them are answered 401; more are answered 429.
WINDOW_S = 60
MOST = 10
#: Addresses that are remembered, those that guessed last; an entry takes about 200 bytes.
_ADDRESSES = 10_000


class Guesses:
    """For the threads of an event loop. `clock`: s, never set back."""

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        #: For each address, when its window ends and how many wrong tokens came in it.
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str | None) -> int:
        """Notes a wrong token of this address: how long to wait before the next one, whole seconds; 0: no need to."""
        now, key = self._clock(), client_key(address or "")
        ends, count = self._seen.pop(key, (0.0, 0))
        if now >= ends:
            ends, count = now + WINDOW_S, 0
        self._seen[key] = (ends, count + 1)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        return 0 if count < MOST else max(1, round(ends - now))
