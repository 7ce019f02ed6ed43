"""Changes one thing in a good start call."""

import copy
from typing import Any

from adapters.vendors import Dialect

#: As a change: the field is removed.
GONE = object()


def changed(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy with other values at dotted paths."""
    params = copy.deepcopy(params)
    for path, value in changes.items():
        *parents, name = path.split(".")
        inner = params
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is GONE:
            inner.pop(name, None)
        else:
            inner[name] = value
    return params


def wrong(dialect: Dialect, action: str, version: str | None, params: Any) -> dict[str, str]:
    """Returns field -> message of each problem; asserts that no field has two."""
    problems = dialect.check(action, version, params)
    messages = {problem.field: problem.message for problem in problems}
    assert len(messages) == len(problems)
    return messages
