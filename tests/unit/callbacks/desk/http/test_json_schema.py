"""The parts that schemas are made of."""

from callbacks.desk.http.json_schema import TEXT, TIME, body_of, enum_of, object_of, or_null


def test_what_may_be_null_says_so_in_its_words_too() -> None:
    assert or_null(TIME) == {"type": ["string", "null"], "format": "date-time"}
    assert or_null(enum_of(["a", "b"])) == {"type": ["string", "null"], "enum": ["a", "b", None]}


def test_an_answer_has_all_its_members_and_a_body_no_others() -> None:
    assert object_of("It.", a=TEXT)["required"] == ["a"]
    assert (body_of("It.", {"a": TEXT})["required"], body_of("It.", {"a": TEXT})["additionalProperties"]) == ([], False)
