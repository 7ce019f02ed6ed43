"""Helpers of all sinks."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.downstream.sink import response_excerpt, unknown_members
from adapters.text import FieldProblem


def test_the_first_512_characters_of_an_answer_are_kept():
    assert response_excerpt("ä🎬".encode() * 1000) == "ä🎬" * 256


def test_invalid_text_and_control_characters_are_replaced():
    assert response_excerpt(b"a\x00\x1b[31mb\r\nc\xff\xe2\x80\xaed") == "a  [31mb  c\ufffd d"


@given(st.binary(max_size=3000))
def test_any_answer_has_an_excerpt_that_can_be_stored_and_shown(body: bytes):
    assert response_excerpt(body).isprintable()
    assert response_excerpt(body).encode().decode() == response_excerpt(body)


def test_unknown_members_are_reported_with_the_known_ones():
    found = unknown_members({"type": "webhook", "uri": 1, "x\x00" * 200: 2}, ("type", "url"))
    message = "is not a member of this sink; it has type, url"
    assert found[0] == FieldProblem(field="sink.uri", message=message)
    assert (found[1].field[:8], len(found[1].field)) == ("sink.x\ufffdx", 105)
