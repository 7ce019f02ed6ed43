"""What clients do not take is bounded in its sum, at the cost of who has most of it."""

import pytest

from callbacks.write_buffers import UnsentResponses


class Client:
    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left

    def unwritten(self) -> int:
        return self.bytes_left


class Kept:
    """What was cut, in order."""

    def __init__(self, most: int) -> None:
        self.cut: list[Client] = []
        self.answers: UnsentResponses[Client] = UnsentResponses(most, self._cut)

    def _cut(self, client: Client) -> None:
        self.cut.append(client)
        self.answers.release(client)

    def add(self, whose: str, *sizes: int) -> list[Client]:
        made = [Client(size) for size in sizes]
        for each in made:
            self.answers.add(each, whose)
        return made


def test_within_the_bound_nothing_is_cut():
    kept = Kept(100)
    kept.add("a", 50, 50)
    assert kept.cut == []


def test_who_holds_most_loses_what_has_waited_longest():
    kept = Kept(100)
    kept.add("slow", 30)
    hoard = kept.add("hoard", 30, 30)
    kept.add("new", 20)
    assert kept.cut == [hoard[0]]


def test_what_was_taken_meanwhile_counts_no_more():
    kept = Kept(100)
    (reading,) = kept.add("a", 90)
    reading.bytes_left = 10
    kept.add("b", 80)
    assert kept.cut == []


@pytest.mark.parametrize("again", [False, True])
def test_what_is_released_counts_no_more_however_often(again: bool):
    kept = Kept(100)
    (first,) = kept.add("a", 90)
    for _ in range(1 + again):
        kept.answers.release(first)
    kept.add("b", 90)
    assert kept.cut == []


def test_the_same_connection_counts_once_with_its_newest_size():
    kept = Kept(100)
    (first,) = kept.add("a", 60)
    first.bytes_left = 70
    kept.answers.add(first, "a")
    kept.add("b", 30)
    assert kept.cut == []


def test_one_alone_beyond_the_bound_is_cut():
    kept = Kept(100)
    assert kept.add("a", 101) == kept.cut
