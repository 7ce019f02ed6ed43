"""Tencent Cloud TRTC. Numbers in docstrings are document numbers of its site.

dialect      - `Tencent`: the implementation of Dialect
envelope     - verifies callbacks; envelope and dedupe key
events       - the table of events: what each says about a task
files        - the files that callbacks and queries name
rules        - the rules of each kind of task
api          - the table of the API: actions, parameters, quotas
parameters   - the documented parameters of each action
requests     - builds the calls for a task; the identity that a start call names
signing      - signs calls
answers      - reads answers: the tables of error codes
inspections  - reads the answers of query calls
"""

from adapters.vendors.tencent.dialect import Tencent

__all__ = ["Tencent"]
