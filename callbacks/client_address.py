"""Finds the address of the client behind a configured proxy.

Only headers of a peer in `server.proxies` are believed, and of a chain of proxies only the part that such peers wrote: it is read
from its right end, up to the first address that is no configured proxy. The client may have invented everything left of that one.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Headers = Iterable[tuple[bytes, bytes]]

#: Hops of a chain that are read, at most; real chains are short.
_MAX_HOPS = 32
#: `for=` of one element of Forwarded (RFC 7239, section 4): a token, or a quoted string.
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^\s;]*)', re.IGNORECASE)
#: Prefix length of the smallest IPv6 network that a provider gives to a customer (RFC 6177): its addresses are one client.
_CLIENT_V6_BITS = 64


class Proxies:
    """The configured proxies, whose headers are believed. networks: CIDR."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, host: str) -> bool:
        """Returns whether the peer with this address is a configured proxy."""
        address = parse_address(host)
        return address is not None and self._is_proxy(address)

    def client_of(self, headers: Headers) -> str | None:
        """Returns the client that a configured proxy names in the headers; None if it names none that can be read."""
        client: str | None = None
        for hop in reversed(_forwarded_hops(headers)):
            address = parse_address(hop)
            if address is None:
                break
            client = str(address)
            if not self._is_proxy(address):
                break
        return client

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def client_key(host: str) -> str:
    """Returns what counts as one client: an IPv4 address, or the /64 of an IPv6 address; any other text as it is."""
    return _client_key(host)


@lru_cache(maxsize=4096)
def _client_key(host: str) -> str:
    address = parse_address(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _CLIENT_V6_BITS), strict=False))
    return host if address is None else str(address)


def parse_address(text: str) -> Address | None:
    """Reads an address with or without a port, brackets or a zone; None if it is none. An IPv4-mapped IPv6 address becomes IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _forwarded_hops(headers: Headers) -> list[str]:
    """Returns the chain of addresses as it was written, the nearest last.

    X-Forwarded-For is preferred: proxies that write it pass on any Forwarded header that the client sent.
    """
    plain, standard = [], []
    for name, value in headers:
        if name == b"x-forwarded-for":
            plain += value.decode("latin-1").split(",")
        elif name == b"forwarded":
            standard += value.decode("latin-1").split(",")
    if plain:
        return plain[-_MAX_HOPS:]
    return [match[1] if (match := _FOR.search(element)) else "" for element in standard[-_MAX_HOPS:]]
