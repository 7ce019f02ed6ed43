"""Standard input, output and error as a command line gets them: closed, full, or with a reader that goes away."""

import errno
import os
import sys

#: What `print` raises of an output that takes nothing: its reader is gone, its disk is full, it fails, it is closed.
_OUTPUT_ERRORS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG})
#: As a shell says it of a program that wrote into a pipe that nobody reads (128 and SIGPIPE).
READER_GONE = 141


def keep_standard_numbers() -> None:
    """Opens `/dev/null` as those of the descriptors 0, 1 and 2 that are closed.

    The next file would get their number, and what a library prints to stderr would be written into the ledger.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def is_output_error(error: OSError) -> bool:
    """Whether it is an output's that takes nothing, and no file's or connection's."""
    return error.errno in _OUTPUT_ERRORS and error.filename is None


def give_up_output(error: OSError) -> int:
    """Discards what is not written to stdout yet, or Python would try again as it ends; the exit status."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
    if error.errno == errno.EPIPE:
        return READER_GONE
    print(f"tally: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 1
