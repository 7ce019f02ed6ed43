"""`fast_init` classes behave as plain dataclasses do."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from statemachine.fast_dataclasses import fast_init, fast_replace, sparse_encoder


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    name: str
    lit: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a lamp has a name")


def test_fields_are_given_by_name_or_have_their_defaults() -> None:
    assert repr(Lamp(name="a", lit=True)) == "Lamp(name='a', lit=True, about={})"
    assert Lamp(name="a").about is not Lamp(name="a").about


@pytest.mark.parametrize("given", [{}, {"lit": True}, {"name": "a", "size": 1}])
def test_a_field_that_is_missing_or_not_known_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Lamp(**given)


def test_it_is_of_its_own_class_and_frozen() -> None:
    lamp = Lamp(name="a")

    assert type(lamp) is Lamp
    with pytest.raises(FrozenInstanceError):
        lamp.lit = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del lamp.name  # type: ignore[misc]
    assert lamp == Lamp(name="a")


def test_a_copy_differs_only_in_what_is_changed() -> None:
    lamp = Lamp(name="a", about={"colour": "red"})

    copy = fast_replace(lamp, lit=True)

    assert (copy, type(copy)) == (replace(lamp, lit=True), Lamp)
    assert not lamp.lit
    with pytest.raises(AttributeError):
        fast_replace(lamp, size=1)


@pytest.mark.parametrize(
    "make", [lambda: Lamp(name=""), lambda: fast_replace(Lamp(name="a"), name=""), lambda: replace(Lamp(name="a"), name="")]
)
def test_each_way_of_construction_is_checked(make: Any) -> None:
    with pytest.raises(ValueError, match="a lamp has a name"):
        make()


def test_only_fields_that_differ_from_the_defaults_are_encoded() -> None:
    encode = sparse_encoder(Lamp, without=("name",))

    assert encode(Lamp(name="a")) == {}
    assert encode(Lamp(name="a", lit=True, about={"colour": "red"})) == {"lit": True, "about": {"colour": "red"}}
