"""Wrong tokens are counted by address, in bounded memory."""

from callbacks.desk.http.token_guesses import MAX_WRONG_TOKENS, WINDOW_S, WrongTokenLimiter


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def used_up(guesses: WrongTokenLimiter, address: str) -> None:
    assert [guesses.record_wrong_token(address) for _ in range(MAX_WRONG_TOKENS)] == [0] * MAX_WRONG_TOKENS


def test_the_wait_is_what_is_left_of_the_minute() -> None:
    clock = Clock()
    guesses = WrongTokenLimiter(clock)
    used_up(guesses, "192.0.2.1")
    clock.now += 20
    assert guesses.record_wrong_token("192.0.2.1") == WINDOW_S - 20
    clock.now += WINDOW_S - 20
    assert guesses.record_wrong_token("192.0.2.1") == 0


def test_addresses_do_not_wait_for_each_other() -> None:
    guesses = WrongTokenLimiter(Clock())
    used_up(guesses, "192.0.2.1")
    used_up(guesses, "192.0.2.2")
    used_up(guesses, "not an address")
    assert guesses.record_wrong_token("192.0.2.1") > 0


def test_one_customers_ipv6_addresses_count_as_one_and_a_mapped_one_is_its_ipv4() -> None:
    guesses = WrongTokenLimiter(Clock())
    assert [guesses.record_wrong_token(f"2001:db8:0:1::{n}") for n in range(MAX_WRONG_TOKENS)] == [0] * MAX_WRONG_TOKENS
    assert guesses.record_wrong_token("2001:db8:0:1:ffff::1") > 0
    assert guesses.record_wrong_token("2001:db8:0:2::1") == 0
    used_up(guesses, "::ffff:192.0.2.1")
    assert guesses.record_wrong_token("192.0.2.1") > 0


def test_a_million_addresses_take_no_more_memory_than_ten_thousand() -> None:
    guesses = WrongTokenLimiter(Clock())
    for number in range(20_000):
        guesses.record_wrong_token(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._seen) == 10_000
