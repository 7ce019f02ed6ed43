"""What the docs say of settings, events and metrics is what the code has."""

import pytest

from tests.regenerate import GENERATED, ROOT, rewritten


@pytest.mark.parametrize("name", [name for name in GENERATED if (ROOT / name).exists()])
def test_generated_parts_are_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert rewritten(text, GENERATED[name]) == text, "run: python -m tests.regenerate"
