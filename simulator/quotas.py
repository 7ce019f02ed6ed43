"""The vendors' limits: so many calls in any second, per account and API. Calls that were refused count for nothing."""

from collections import deque

_WINDOW_MS = 1000


class Quotas:
    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str], deque[int]] = {}

    def try_take(self, account: tuple[str, str], action: str, limit: int, now: int) -> bool:
        """Whether one more call fits. account: vendor and access key id. now: ms, never less than before."""
        taken = self._taken.setdefault((*account, action), deque())
        while taken and taken[0] <= now - _WINDOW_MS:
            taken.popleft()
        if len(taken) >= limit:
            return False
        taken.append(now)
        return True
