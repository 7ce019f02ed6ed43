"""Vendors: one protocol, one package per vendor. A vendor's words stop at its package's border.

The door asks a dialect to verify a callback (`verify`), the workers ask it what the callback says (`read`). Any bytes in: a
value out, or a `CallbackRejected`; never another exception.
"""

from adapters.vendors.protocol import CallbackRejected, Dialect, Envelope, Reading, Rejection
from adapters.vendors.registry import DIALECTS, dialect

__all__ = ["DIALECTS", "CallbackRejected", "Dialect", "Envelope", "Reading", "Rejection", "dialect"]
