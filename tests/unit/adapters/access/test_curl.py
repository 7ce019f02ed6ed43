"""`tally curl` turns its arguments into those of curl."""

from pathlib import Path

import pytest

from adapters.access.curl import CurlError, build_command, parse_arguments, service_url
from adapters.access.token_file import TokenFileError
from adapters.settings import DatabaseSettings, Role, Secret, ServerSettings, Settings, TokenSettings

TOKENS = tuple(TokenSettings(name=role.value, role=role, token=Secret(f"{role}-0123456789abcdef")) for role in Role)
SETTINGS = Settings(tokens=TOKENS)
BEGIN = ["curl", "--silent", "--show-error", "--noproxy", "*"]


def words(*arguments: str, settings: Settings = SETTINGS) -> list[str]:
    found, _ = build_command(settings, arguments)
    assert found[: len(BEGIN)] == BEGIN
    return found[len(BEGIN) :]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tasks",
        "/v1/tasks?live=true",
        "http://localhost:8080/v1/tasks",
        "localhost:8080/v1/tasks",
        "http://127.0.0.1:8080/metrics",
    ],
)
def test_a_path_and_an_url_of_the_service_are_completed(path: str) -> None:
    assert words(path) == [
        f"http://127.0.0.1:8080{path[path.index('/', 8) if '8080' in path else 0 :]}".replace("8080/localhost", "8080")
    ]


def test_the_path_may_stand_anywhere_and_options_keep_their_values() -> None:
    given = ("-X", "POST", "-o", "/tmp/out", "/v1/subscriptions", "-d", '{"sink": {"url": "https://example.com/v1/x"}}')
    expected = [*given[:4], "http://127.0.0.1:8080/v1/subscriptions", *given[5:]]
    assert words(*given) == expected


def test_the_first_word_is_a_path_even_of_nothing_that_there_is() -> None:
    assert words("/v2/nothing", "-i") == ["http://127.0.0.1:8080/v2/nothing", "-i"]


@pytest.mark.parametrize(
    "given", [(), ("-s",), ("-o", "/tmp/x"), ("https://evil.invalid/v1/tasks",), ("/v1/tasks", "https://evil.invalid/")]
)
def test_without_a_path_or_with_an_address_of_others_it_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(CurlError, match="tally curl"):
        build_command(SETTINGS, given)


def test_the_token_with_the_most_rights_is_sent_and_is_no_argument() -> None:
    found, token = build_command(SETTINGS, ["/v1/tasks"])
    assert token == "admin-0123456789abcdef"
    assert not any("admin-" in word for word in found)


def test_without_a_token_it_says_where_one_would_be(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=r"no token at .*tally\.token yet"):
        build_command(Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path}/tally.db")), ["/v1/tasks"])


def test_an_open_desk_is_asked_without() -> None:
    assert build_command(Settings(server=ServerSettings(open_desk=True)), ["/v1/tasks"])[1] is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("::1", "http://[::1]:1"), ("localhost", "http://localhost:1")],
)
def test_any_address_is_reached_on_this_machine(host: str, origin: str) -> None:
    assert service_url(Settings(server=ServerSettings(host=host, port=1))) == origin


def test_a_port_that_the_kernel_chose_must_be_told() -> None:
    with pytest.raises(CurlError, match="--port PORT"):
        service_url(Settings(server=ServerSettings(port=0)))


def test_our_own_options_are_taken_wherever_they_stand() -> None:
    options = parse_arguments(["-i", "/v1/tasks", "--config", "a.toml", "-H", "X: y", "--port=9"])
    assert (options.config, options.port, options.arguments) == (Path("a.toml"), "9", ["-i", "/v1/tasks", "-H", "X: y"])
