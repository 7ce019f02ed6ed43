"""The code of a login link is exchanged for its token, once."""

import pytest

from adapters.access.login_codes import LIFE_MS, make_code
from adapters.settings import Role
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import TOKENS, DeskHarness, fields_of


def log_in(world: DeskHarness, code: object) -> tuple[int, dict[str, str]]:
    answer = world.ask("POST", "/v1/login", role=None, json={"code": code})
    return answer.status_code, answer.json()


def test_a_code_is_exchanged_for_the_token_that_made_it(world: DeskHarness) -> None:
    status, said = log_in(world, make_code(TOKENS[Role.VIEWER], T0))

    assert (status, said) == (200, {"token": TOKENS[Role.VIEWER], "name": "a-viewer", "role": "viewer"})


def test_a_code_can_be_used_once(world: DeskHarness) -> None:
    code = make_code(TOKENS[Role.ADMIN], T0)

    assert [log_in(world, code)[0] for _ in range(2)] == [200, 401]
    assert world.wrong_tokens == [
        (world.wrong_tokens[0][0], "this login link was used, or has expired: `tally link` prints a new one")
    ]


def test_a_code_expires_after_ten_minutes(world: DeskHarness) -> None:
    first, second = make_code(TOKENS[Role.ADMIN], T0), make_code(TOKENS[Role.ADMIN], T0)
    world.now += LIFE_MS - 1
    assert log_in(world, first)[0] == 200
    world.now += 1
    assert log_in(world, second)[0] == 401


@pytest.mark.parametrize("code", ["", "A", "A" * 44, "\u00e9" * 44, "=" * 44, "A" * 10_000])
def test_what_nobody_made_is_no_code(world: DeskHarness, code: str) -> None:
    assert log_in(world, code)[0] == 401


def test_a_code_of_another_token_and_a_changed_one_are_refused(world: DeskHarness) -> None:
    assert log_in(world, make_code("another-0123456789abcdef", T0))[0] == 401
    code = make_code(TOKENS[Role.ADMIN], T0)
    assert log_in(world, ("B" if code[0] == "A" else "A") + code[1:])[0] == 401
    assert log_in(world, code)[0] == 200


def test_a_code_is_no_token(world: DeskHarness) -> None:
    headers = {"Authorization": f"Bearer {make_code(TOKENS[Role.ADMIN], T0)}"}
    assert world.ask("GET", "/v1/tasks", role=None, headers=headers).status_code == 401


def test_what_is_wrong_with_the_body_is_named(world: DeskHarness) -> None:
    assert list(fields_of(world.ask("POST", "/v1/login", role=None, json={"code": 7, "more": 1}))) == ["more", "code"]
    assert world.ask("POST", "/v1/login", role=None, content=b"nonsense").status_code == 400


def test_guessed_codes_are_told_to_wait(world: DeskHarness) -> None:
    assert [log_in(world, "A" * 44)[0] for _ in range(11)] == [401] * 10 + [429]
    assert log_in(world, make_code(TOKENS[Role.ADMIN], T0))[0] == 200
