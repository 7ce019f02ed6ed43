"""Three minutes of requests, right and wrong ones, and every answer is as the OpenAPI document says."""

from pathlib import Path

import pytest

from tests.conformance.schemathesis_run import ROLES, conforms, running


@pytest.mark.soak
@pytest.mark.parametrize("role", ROLES)
def test_answers_are_as_the_document_says_for_long(tmp_path: Path, role: str) -> None:
    with running(tmp_path) as process:
        conforms(process, role, "--phases", "coverage,fuzzing", "-n", "1000", "--max-time", "90")
