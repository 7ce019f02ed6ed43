import re

import pytest

from adapters.access.tokens import Tokens, bearer_of, generate
from adapters.settings import Role, Secret, TokenSettings

VIEWER = TokenSettings(name="grafana", role=Role.VIEWER, token=Secret("v" * 16))
ADMIN = TokenSettings(name="ops", role=Role.ADMIN, token=Secret("a" * 16))


def test_a_made_token_is_32_bytes_of_url_safe_text() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", generate())


def test_no_two_made_tokens_are_equal() -> None:
    assert len({generate() for _ in range(100)}) == 100


@pytest.mark.parametrize("token", [VIEWER, ADMIN])
def test_a_configured_token_is_found(token: TokenSettings) -> None:
    assert Tokens([VIEWER, ADMIN]).find(token.token.reveal()) is token


@pytest.mark.parametrize("bearer", ["", "v" * 15, "v" * 17, "V" * 16, "é", "\udcff"])
def test_any_other_text_is_nobody(bearer: str) -> None:
    assert Tokens([VIEWER, ADMIN]).find(bearer) is None


def test_without_tokens_nobody_is_found() -> None:
    assert not Tokens([])
    assert Tokens([]).find("v" * 16) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_bearer_header_has_a_token(header: str | None, token: str | None) -> None:
    assert bearer_of(header) == token
