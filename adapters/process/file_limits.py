"""How many files, and so connections, a process may have open."""

import resource

#: More are of no use here, and some systems allow a thousand million.
_ENOUGH = 65_536
#: Kept for the ledger, the spool, and connections to vendors, subscribers and Redis: a quarter, but no less and no more than this.
_LEAST_KEPT, _MOST_KEPT = 64, 1_024
#: Connections by default, whatever is allowed: each takes about 10 KB.
_MOST_CONNECTIONS = 8_192


def raise_limit() -> int:
    """Raises the limit of open files to what the process may set itself; the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def connections_within(files: int, wanted: int = 0) -> int:
    """How many clients may connect where so many files may be open. wanted: at most; 0: as many as is sensible."""
    kept = min(max(files // 4, _LEAST_KEPT), _MOST_KEPT)
    return max(1, min(files - kept, wanted or _MOST_CONNECTIONS))
