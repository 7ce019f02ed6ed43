"""Whatever is asked of the API, it answers as its OpenAPI document says. The long run of this is in `tests/soak`."""

from pathlib import Path

import pytest

from tests.conformance.schemathesis_run import ROLES, conforms, running


@pytest.mark.parametrize("role", ROLES)
def test_answers_are_as_the_document_says(tmp_path: Path, role: str) -> None:
    with running(tmp_path) as process:
        said = conforms(
            process, role, "--phases", "fuzzing", "-n", "2", "--seed", "1", "--max-time", "5", "--generation-deterministic"
        )

    assert "Tested:" in said
