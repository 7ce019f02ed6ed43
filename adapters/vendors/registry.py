"""All vendors we speak to. A further one is a package beside these and a line here."""

from adapters.vendors.protocol import Dialect
from adapters.vendors.tencent import Tencent
from adapters.vendors.volcengine import Volcengine

DIALECTS: dict[str, Dialect] = {d.name: d for d in (Volcengine(), Tencent())}


def dialect(vendor: str) -> Dialect:
    """The dialect of a configured vendor; KeyError for any other name."""
    return DIALECTS[vendor]
