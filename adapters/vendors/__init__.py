"""The vendors: one protocol (`Dialect`), one package per vendor. A vendor's own words do not leave its package.

The door verifies callbacks (`verify`) and the workers read them (`read`). The desk checks the parameters of calls (`check`); the
workers build calls (`start`, `update`, `stop`, `inspect`), sign them (`sign`) and read their answers (`read_answer`). A dialect
turns any bytes into a value or a `CallbackRejected`, never into another exception. No dialect does any I/O.

protocol          - `Dialect`, and what it returns for callbacks: `Envelope`, `Reading`, `CallbackRejected`
registry          - the table of all dialects
calls             - calls, their answers and the tasks they name, as values without vendors' words
catalogue         - a vendor's API as a table; the part of a dialect that follows from it
parameters        - a vendor's documented parameters as data, and the checker of calls against them
answers           - the outcome of a call, as far as HTTP alone decides it
json_fields       - tolerant reading of vendors' JSON: types, sizes, plausible times, dedupe keys
reading_builders  - builders of `Reading`s and of the fields of facts
endpoints         - the parts of an API endpoint that a signature covers
accounts          - the accounts of the settings, found by app; quota buckets
tencent           - Tencent Cloud TRTC
volcengine        - Volcengine RTC and BytePlus RTC
"""

from adapters.vendors.protocol import CallbackRejected, Dialect, Envelope, Reading, Rejection
from adapters.vendors.registry import DIALECTS, dialect

__all__ = ["DIALECTS", "CallbackRejected", "Dialect", "Envelope", "Reading", "Rejection", "dialect"]
