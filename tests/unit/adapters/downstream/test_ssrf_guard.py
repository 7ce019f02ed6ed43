"""Webhooks reach public addresses and those that the settings allow, in any notation of an address."""

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.downstream.ssrf_guard import AllowedTargets, RefusedAddressError
from adapters.settings import OutboundSettings

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "100::1",
    "200::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700::1%eth0",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:93.184.216.34%1",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "::10.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:5db8:d822:0:0:80ff:fffe",  # a Teredo client at 127.0.0.1
    "2001:0:7f00:1:0:0:a247:27dd",  # a Teredo server at 127.0.0.1
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1::93.184.216.34",
    "64:ff9b:1:5db8:d8:2200::",
    "64:ff9b:1:7f00:0:100::",
]

PERMITTED = [
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:200::1",
    "2a00:1450:4001:830::200e",
    "::ffff:93.184.216.34",
    "::93.184.216.34",
    "2002:5db8:d822::1",
    "2001:0:5db8:d822:0:0:a247:27dd",
    "64:ff9b::93.184.216.34",
]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str):
    assert not AllowedTargets().is_permitted(address)


@pytest.mark.parametrize("address", PERMITTED)
def test_a_public_address_is_permitted(address: str):
    assert AllowedTargets().is_permitted(address)


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "2130706433", "0x7f000001", "1.1.1.1:80", "[::1]", "1.1.1.1 "])
def test_a_text_that_is_no_address_is_refused(address: str):
    assert not AllowedTargets(allow=AllowedTargets.from_settings(OutboundSettings(allow=("0.0.0.0/0", "::/0"))).allow).is_permitted(
        address
    )


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1/128", "::1"),
        ("fd00::/8", "fd12::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"),
    ],
)
def test_an_address_in_an_allowed_network_is_permitted(network: str, address: str):
    assert AllowedTargets.from_settings(OutboundSettings(allow=("192.168.0.0/16", network))).is_permitted(address)


@pytest.mark.parametrize(
    ("network", "address"),
    [("10.0.0.0/8", "11.0.0.1"), ("10.0.0.0/9", "10.128.0.1"), ("::1/128", "127.0.0.1"), ("::/0", "::ffff:10.0.0.1")],
)
def test_an_allowed_network_allows_nothing_else(network: str, address: str):
    targets = AllowedTargets.from_settings(OutboundSettings(allow=(network,)))
    assert targets.is_permitted(address) is AllowedTargets().is_permitted(address)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_addresses_that_embed_others_are_judged_by_those(one: Any, other: Any):
    wrapped = [f"::ffff:{one}", f"64:ff9b::{one}", f"::{one}", f"2002:{int(one) >> 16:x}:{int(one) & 0xFFFF:x}::"]
    assert {AllowedTargets().is_permitted(address) for address in wrapped} == {AllowedTargets().is_permitted(str(one))}


@given(st.ip_addresses())
def test_addresses_that_the_standard_library_calls_special_are_never_permitted(address: Any):
    """The standard library knows many special ranges, though not all."""
    special = address.is_multicast or address.is_loopback or address.is_link_local or address.is_unspecified or address.is_reserved
    wraps = address.version == 6 and any((address.ipv4_mapped, int(address) >> 32 in (0, 0x64FF9B << 64)))
    assert not (special and not wraps and AllowedTargets().is_permitted(str(address)))


# Names.


def gives(*addresses: str) -> Any:
    """Returns a lookup with these addresses."""
    return lambda host, port: [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses
    ]


def fails(error: Exception) -> Any:
    def lookup(host: str, port: int) -> Any:
        raise error

    return lookup


def test_a_name_resolves_to_its_addresses():
    lookup = gives("93.184.216.34", "2606:4700::1111")
    assert AllowedTargets(lookup=lookup).resolve("hooks.example", 443) == lookup("hooks.example", 443)


def test_one_refused_address_refuses_the_name_and_says_what_would_allow_it():
    with pytest.raises(RefusedAddressError) as caught:
        AllowedTargets(lookup=gives("93.184.216.34", "10.0.0.7")).resolve("hooks.example", 443)
    assert str(caught.value) == (
        "hooks.example (10.0.0.7) is not a public address; webhooks may reach it only if a network in outbound.allow holds it"
    )


# Urls.

OUTSIDE = AllowedTargets(lookup=gives("93.184.216.34"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example",
        "https://hooks.example/",
        "HTTPS://hooks.example:8443/a/b?c=d&e=%20",
        "https://xn--bcher-kva.example/",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]:444/x",
        "https://hooks.example/" + "a" * 2026,
    ],
)
def test_a_public_https_url_is_valid(url: str):
    assert OUTSIDE.check_url(url) is None


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("", "must begin with https://"),
        ("hooks.example/x", "must begin with https://"),
        ("//hooks.example/x", "must begin with https://"),
        ("http://hooks.example/", "must begin with https://"),
        ("ftp://hooks.example/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https:///x", "must have a host"),
        ("https://[::1%25eth0]/", "must have a host"),
        ("https://./", "must have a host"),
        ("https://user@hooks.example/", "must not hold a user name or a password"),
        ("https://user:pass@hooks.example/", "must not hold a user name or a password"),
        ("https://hooks.example/#x", "must not have a fragment"),
        ("https://hooks.example#", "must not have a fragment"),
        ("https://hooks.example:0/", "must have a port from 1 to 65535"),
        ("https://hooks.example:65536/", "must be a url with a valid host and a port from 1 to 65535"),
        ("https://[::1/", "must be a url with a valid host"),
        ("https://hooks.example/" + "a" * 2027, "must be at most 2048 characters long"),
        ("https://hooks.example/a b", "must hold no blanks and only ASCII"),
        (" https://hooks.example/", "must hold no blanks and only ASCII"),
        ("https://hooks.example/\n", "must hold no blanks and only ASCII"),
        ("https://hooks.example/\x00", "must hold no blanks and only ASCII"),
        ("https://hooks.example\\@inside.example/", "must hold no blanks and only ASCII"),
        ("https://bücher.example/", "must hold no blanks and only ASCII"),
        ("https://hooks.example/\ud800", "must hold no blanks and only ASCII"),
        ("https://１２７.0.0.1/", "must hold no blanks and only ASCII"),
    ],
)
def test_problems_of_a_url_are_reported(url: str, wrong: str):
    told = OUTSIDE.check_url(url)
    assert told is not None
    assert told.startswith(wrong)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
    ],
)
def test_this_machine_is_refused_in_any_notation(host: str):
    told = AllowedTargets(allow_http=True).check_url(f"http://{host}:8080/")
    assert told is not None
    assert "is not a public address" in told


def test_a_name_of_an_internal_address_is_refused():
    assert "hooks.example (10.0.0.7)" in (AllowedTargets(lookup=gives("10.0.0.7")).check_url("https://hooks.example/") or "")


def test_a_name_that_does_not_resolve_now_is_valid():
    assert (
        AllowedTargets(lookup=fails(socket.gaierror(-2, "Name or service not known"))).check_url("https://hooks.example/") is None
    )


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_a_host_that_can_never_be_a_name_is_refused(host: str):
    assert (AllowedTargets().check_url(f"https://{host}/") or "").startswith("must have a host name")


def test_plain_http_is_valid_if_allowed():
    assert AllowedTargets(allow_http=True, lookup=gives("93.184.216.34")).check_url("http://hooks.example/") is None


@given(
    st.text() | st.text().map(lambda text: f"https://{text}") | st.text("0123456789.:[]@/%x").map(lambda text: f"https://{text}")
)
def test_any_text_is_valid_or_has_a_problem(url: str):
    assert AllowedTargets(lookup=gives("127.0.0.1")).check_url(url), "all that it could lead to is this machine"
