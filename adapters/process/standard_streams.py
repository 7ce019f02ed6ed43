"""Handles standard input, output and error as a command line gets them: closed, full, or with a reader that goes away."""

import errno
import os
import sys

#: Errors of an output that accepts nothing: its reader is gone, its disk is full, it fails, it is closed.
_OUTPUT_ERRORS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG})
#: The exit status that a shell reports for a program that wrote into a pipe without a reader (128 + SIGPIPE).
READER_GONE = 141


def reserve_standard_descriptors() -> None:
    """Opens `/dev/null` as each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file would get its number, and what a library prints to stderr would be written into the ledger.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def is_output_error(error: OSError) -> bool:
    """Returns whether the error came from writing to stdout or stderr, not from a file or a connection."""
    return error.errno in _OUTPUT_ERRORS and error.filename is None


def discard_output(error: OSError) -> int:
    """Discards what is not written to stdout yet, for Python would try again as it ends; returns the exit status."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
    if error.errno == errno.EPIPE:
        return READER_GONE
    print(f"tally: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 1
