"""Headers are found in any case."""

import pytest

from adapters.http_messages import header_value


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_a_header_is_found_in_any_case_and_stripped(name: str) -> None:
    assert header_value({"Content-Type": "text/plain", name: " 7 "}, "retry-after") == "7"


def test_a_missing_header_is_empty() -> None:
    assert header_value({"Content-Type": "text/plain"}, "retry-after") == ""
