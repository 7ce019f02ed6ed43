"""The limit of open files of the process, and the connections that it allows."""

import resource

#: Open files that are asked for, at most: more are of no use here, and some systems allow a thousand million.
_ENOUGH = 65_536
#: Files reserved for the ledger, the spool, and connections to vendors, subscribers and Redis: a quarter, within these limits.
_MIN_RESERVED, _MAX_RESERVED = 64, 1_024
#: Connections by default, at most: each takes about 10 KB.
_DEFAULT_CONNECTIONS = 8_192


def raise_file_limit() -> int:
    """Raises the limit of open files to what the process may set itself; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        return target
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def max_connections_within(files: int, limit: int = 0) -> int:
    """Returns how many clients may connect if `files` may be open. limit: at most this number; 0: the default."""
    reserved = min(max(files // 4, _MIN_RESERVED), _MAX_RESERVED)
    return max(1, min(files - reserved, limit or _DEFAULT_CONNECTIONS))
