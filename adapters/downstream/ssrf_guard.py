"""Which addresses webhooks may reach, so that nobody makes us knock at doors inside (SSRF).

A target is looked at twice. `check` tells who creates a subscription what is wrong with its url. `resolve` guards every single
connection: the addresses that it checked are those that are connected to, so a name that changes its mind in between gains nothing.

Only what is listed as public is permitted. `ipaddress.is_global` is not asked: what it says differs between Python's patch
releases, it takes multicast and the carriers' shared space for something else than private, and looks into few addresses that hold
others.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from adapters.http import Resolve, look_up
from adapters.settings import Outbound

Network = IPv4Network | IPv6Network

URL_LIMIT = 2048
_PORTS = {"http": 80, "https": 443}
#: Those of RFC 3986. No backslash: some take it for a slash, so that one url names two hosts.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
#: A name, an IPv4 address however it is written, or an IPv6 address without a scope.
_HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]+\]")

#: All unicast space but this is public.
_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host on this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers; some clouds have their metadata there
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # public by its number, but answered by the machine's own host in one cloud
            "169.254.0.0/16",  # link-local; most clouds have their metadata there
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, no longer in use
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
#: Nothing else of IPv6 is public unicast: neither loopback, nor unique local, site-local, link-local or multicast addresses, nor
#: those that a network translates for itself (64:ff9b:1::/48), of which nobody outside knows where the IPv4 address stands in them.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, benchmarking among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: judged by what it holds
            "3fff::/20",  # documentation
        ),
    )
)
#: Their last 32 bits are an IPv4 address: IPv4-compatible ones and those of the well-known NAT64.
_ENDS_IN_IPV4 = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"))


class RefusedAddressError(OSError):
    """A host has an address that webhooks may not reach."""

    def __init__(self, host: str, address: str) -> None:
        what = host if host == address else f"{host} ({address})"
        super().__init__(f"{what} is not a public address; webhooks may reach it only if a network in outbound.allow holds it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Where webhooks may go: public addresses and what the settings allow."""

    allow: tuple[Network, ...] = ()
    allow_http: bool = False
    #: Gives all addresses of a name.
    lookup: Resolve = look_up

    @classmethod
    def of(cls, outbound: Outbound) -> Self:
        return cls(allow=tuple(map(ip_network, outbound.allow)), allow_http=outbound.allow_http)

    def permits(self, address: str) -> bool:
        """Whether this address may be connected to; what is no address may not."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return self._permits(found)

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        if isinstance(address, IPv4Address):
            return self._allows(address) or not _among(address, _NOT_PUBLIC_4)
        if address.ipv4_mapped is not None and address.scope_id is None:  # packets go out as IPv4
            return self._permits(address.ipv4_mapped)
        return self._allows(address) or self._is_public(address)

    def _allows(self, address: IPv4Address | IPv6Address) -> bool:
        return _among(address, self.allow)

    def _is_public(self, address: IPv6Address) -> bool:
        if address.scope_id is not None:
            return False
        if held := _held(address):
            return all(map(self._permits, held))
        return address in _PUBLIC_6 and not _among(address, _NOT_PUBLIC_6)

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """The host's addresses, looked up once. Raises RefusedAddressError where one of them is not permitted.

        One is enough: a name that has public and private addresses is either a mistake or a trick.
        """
        found = list(self.lookup(host, port))
        for *_, address in found:
            if not self.permits(str(address[0])):
                raise RefusedAddressError(host, str(address[0]))
        return found

    def check(self, url: str) -> str | None:
        """What is wrong with a target and what would be right; None: nothing. It looks the name up, so it may take a while.

        A name that does not resolve right now passes: each connection is checked again.
        """
        return self.misshapen(url) or self._out_of_bounds(parse_url(url))

    def _out_of_bounds(self, url: Url) -> str | None:
        try:
            self.resolve(str(url.host).strip("[]").rstrip("."), url.port or _PORTS[str(url.scheme)])
        except RefusedAddressError as error:
            return str(error)
        except OSError:
            return None
        except ValueError:  # so says the codec of names
            return "must have a host name whose parts are 1 to 63 characters long"
        return None

    def misshapen(self, url: str) -> str | None:
        """What is wrong with a url and what would be right, seen without looking its name up; None: nothing."""
        return next(self._faults(url), None)

    def _faults(self, url: str) -> Iterator[str]:
        if len(url) > URL_LIMIT:
            yield f"must be at most {URL_LIMIT} characters long"
        if not _URL_CHARACTERS.fullmatch(url):
            yield "must hold no blanks and only ASCII: percent-encode other characters, and write host names in their xn-- form"
        try:
            parts = parse_url(url)  # by what will connect: where two readers of urls disagree, this one counts
        except LocationParseError:
            yield "must be a url with a valid host and a port from 1 to 65535"
            return
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            yield "must begin with https:// (http:// only where outbound.allow_http is true)"
        yield from (right for is_right, right in _RULES if not is_right(parts))


#: What holds for each url, and the words for where it does not.
_RULES: tuple[tuple[Callable[[Url], bool], str], ...] = (
    (lambda url: url.auth is None, "must not hold a user name or a password"),
    (lambda url: url.fragment is None, "must not have a fragment: no #"),
    (lambda url: _HOST.fullmatch(url.host or "") is not None, "must have a host: a name, or an address (IPv6 in brackets)"),
    (lambda url: url.port != 0, "must have a port from 1 to 65535"),
)


def _among(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _held(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which what is sent to it may go in the end; none: it stands for itself alone."""
    if address.teredo is not None:
        return address.teredo
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return (IPv4Address(int(address) & 0xFFFFFFFF),) if _among(address, _ENDS_IN_IPV4) else ()
