"""The vendors' rate limits: calls in any second, per account and API. Refused calls do not count."""

from collections import deque

_WINDOW_MS = 1000


class Quotas:
    """Recent calls by account and API."""

    def __init__(self) -> None:
        self._calls_at: dict[tuple[str, str, str], deque[int]] = {}

    def try_take(self, account: tuple[str, str], action: str, limit: int, now: int) -> bool:
        """Counts one more call if the limit allows it; returns whether it does.

        account: vendor and access key id. now: ms, never less than before.
        """
        call_times = self._calls_at.setdefault((*account, action), deque())
        while call_times and call_times[0] <= now - _WINDOW_MS:
            call_times.popleft()
        if len(call_times) >= limit:
            return False
        call_times.append(now)
        return True
