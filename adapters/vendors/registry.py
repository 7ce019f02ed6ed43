"""The table of all vendors. A further vendor is a package beside this module and a line here."""

from collections.abc import Collection

from adapters.vendors.protocol import Dialect
from adapters.vendors.tencent import Tencent
from adapters.vendors.volcengine import Volcengine

DIALECTS: dict[str, Dialect] = {d.name: d for d in (Volcengine(), Tencent())}


def vendor_names() -> Collection[str]:
    """Returns the names of all vendors, as settings, paths and tasks spell them."""
    return DIALECTS.keys()


def dialect(vendor: str) -> Dialect:
    """Returns the dialect of a configured vendor. Raises KeyError for any other name."""
    return DIALECTS[vendor]
