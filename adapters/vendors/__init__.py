"""Vendors: one protocol, one package per vendor. A vendor's words stop at its package's border.

The door asks a dialect to verify a callback (`verify`), the workers ask it what the callback says (`read`). The desk asks what is
wrong with a call (`check`); the workers have it built (`start`, `update`, `stop`, `inspect`), signed (`sign`) and its answer read
(`read_answer`). Any bytes in: a value out, or a `CallbackRejected`; never another exception. No dialect does any I/O.
"""

from adapters.vendors.protocol import CallbackRejected, Dialect, Envelope, Reading, Rejection
from adapters.vendors.registry import DIALECTS, dialect

__all__ = ["DIALECTS", "CallbackRejected", "Dialect", "Envelope", "Reading", "Rejection", "dialect"]
