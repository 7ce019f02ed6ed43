"""Volcengine RTC and BytePlus RTC, which has the same callbacks, signatures and calls. Numbers are document numbers of its site.

dialect      - `Volcengine`: the implementation of Dialect
envelope     - verifies callbacks; envelope, dedupe key and signature key
shapes       - checks the shapes of signed fields, which the signature does not tell apart
events       - the table of events: what each says about a task
files        - the files of a recording
rules        - the rules of each kind of task
api          - the table of the API: actions, versions, parameters, quotas
parameters   - the documented parameters of each action
requests     - builds the calls for a task; the identity that a start call names
signing      - signs calls
answers      - reads answers: the tables of error codes
inspections  - reads the answers of query calls
"""

from adapters.vendors.volcengine.dialect import Volcengine

__all__ = ["Volcengine"]
