"""The addresses that webhooks may reach; protects internal services from server-side request forgery (SSRF).

A target is checked twice. `check_url` validates the url when a subscription is created. `resolve` guards every single connection:
the client connects to the very addresses that were checked, so DNS rebinding is of no use.

Only addresses known as public are permitted. `ipaddress.is_global` is not used: its answers differ between Python's patch releases,
it does not treat multicast and the carriers' shared address space as private, and it looks into few addresses that embed others.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from adapters.http import Resolve, resolve_name
from adapters.settings import OutboundSettings

Network = IPv4Network | IPv6Network

URL_LIMIT = 2048
_PORTS = {"http": 80, "https": 443}
#: The characters of RFC 3986. No backslash: some parsers take it for a slash, so that one url names two hosts.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
#: A name, an IPv4 address in any notation, or an IPv6 address without a scope.
_HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]+\]")

#: IPv4 networks that are not public unicast.
_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host on this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers; some clouds have their metadata there
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # formally public, but answered by the machine's own host in one cloud
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
#: The public unicast space of IPv6. Everything else is not: loopback, unique local, site-local, link-local and multicast addresses,
#: and addresses for translation inside a network (64:ff9b:1::/48), in which the position of the IPv4 address is unknown outside.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, benchmarking among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: the embedded IPv4 address is checked
            "3fff::/20",  # documentation
        ),
    )
)
#: Networks whose last 32 bits are an IPv4 address: IPv4-compatible addresses and the well-known NAT64 prefix.
_ENDS_IN_IPV4 = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"))


class RefusedAddressError(OSError):
    """Raised when a host has an address that webhooks may not reach."""

    def __init__(self, host: str, address: str) -> None:
        shown = host if host == address else f"{host} ({address})"
        super().__init__(f"{shown} is not a public address; webhooks may reach it only if a network in outbound.allow holds it")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedTargets:
    """The targets that webhooks may reach: public addresses, and networks that the settings allow."""

    allow: tuple[Network, ...] = ()
    allow_http: bool = False
    #: Resolves a name to all its addresses.
    lookup: Resolve = resolve_name

    @classmethod
    def from_settings(cls, outbound: OutboundSettings) -> Self:
        return cls(allow=tuple(map(ip_network, outbound.allow)), allow_http=outbound.allow_http)

    def is_permitted(self, address: str) -> bool:
        """Returns whether this address may be connected to; false for a text that is no address."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return self._is_permitted(parsed)

    def _is_permitted(self, address: IPv4Address | IPv6Address) -> bool:
        if isinstance(address, IPv4Address):
            return self._is_allowed_by_settings(address) or not _is_in_any(address, _NOT_PUBLIC_4)
        if address.ipv4_mapped is not None and address.scope_id is None:  # packets go out as IPv4
            return self._is_permitted(address.ipv4_mapped)
        return self._is_allowed_by_settings(address) or self._is_public(address)

    def _is_allowed_by_settings(self, address: IPv4Address | IPv6Address) -> bool:
        return _is_in_any(address, self.allow)

    def _is_public(self, address: IPv6Address) -> bool:
        if address.scope_id is not None:
            return False
        if embedded := _embedded_ipv4(address):
            return all(map(self._is_permitted, embedded))
        return address in _PUBLIC_6 and not _is_in_any(address, _NOT_PUBLIC_6)

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Returns the host's addresses, looked up once. Raises RefusedAddressError if any of them is not permitted.

        One is enough: a name with public and private addresses is either a mistake or an attack.
        """
        addresses = list(self.lookup(host, port))
        for *_, address in addresses:
            if not self.is_permitted(str(address[0])):
                raise RefusedAddressError(host, str(address[0]))
        return addresses

    def check_url(self, url: str) -> str | None:
        """Returns what would make this target valid; None if it is valid. It resolves the name, so it may be slow.

        A name that does not resolve now is accepted: each connection is checked again.
        """
        return self.check_format(url) or self._check_addresses(parse_url(url))

    def _check_addresses(self, url: Url) -> str | None:
        try:
            self.resolve(str(url.host).strip("[]").rstrip("."), url.port or _PORTS[str(url.scheme)])
        except RefusedAddressError as error:
            return str(error)
        except OSError:
            return None
        except ValueError:  # raised by the codec of host names
            return "must have a host name whose parts are 1 to 63 characters long"
        return None

    def check_format(self, url: str) -> str | None:
        """Returns what would make this url well-formed, without resolving its name; None if it is."""
        return next(self._format_problems(url), None)

    def _format_problems(self, url: str) -> Iterator[str]:
        if len(url) > URL_LIMIT:
            yield f"must be at most {URL_LIMIT} characters long"
        if not _URL_CHARACTERS.fullmatch(url):
            yield "must hold no blanks and only ASCII: percent-encode other characters, and write host names in their xn-- form"
        try:
            parts = parse_url(url)  # the parser of the HTTP client: if two parsers of urls disagree, this one counts
        except LocationParseError:
            yield "must be a url with a valid host and a port from 1 to 65535"
            return
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            yield "must begin with https:// (http:// only where outbound.allow_http is true)"
        yield from (requirement for is_met, requirement in _RULES if not is_met(parts))


#: (condition, its text for readers) of every url.
_RULES: tuple[tuple[Callable[[Url], bool], str], ...] = (
    (lambda url: url.auth is None, "must not hold a user name or a password"),
    (lambda url: url.fragment is None, "must not have a fragment: no #"),
    (lambda url: _HOST.fullmatch(url.host or "") is not None, "must have a host: a name, or an address (IPv6 in brackets)"),
    (lambda url: url.port != 0, "must have a port from 1 to 65535"),
)


def _is_in_any(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Returns the IPv4 addresses that packets to this address may be routed to; empty if it embeds none."""
    if address.teredo is not None:
        return address.teredo
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return (IPv4Address(int(address) & 0xFFFFFFFF),) if _is_in_any(address, _ENDS_IN_IPV4) else ()
