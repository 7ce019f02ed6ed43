"""The answers that clients do not read are limited in sum; the client with the most bytes loses a connection."""

import pytest

from callbacks.write_buffers import UnsentResponses


class Client:
    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left

    def unsent_bytes(self) -> int:
        return self.bytes_left


class Answers:
    """Unsent answers, and the connections that were cut, in order."""

    def __init__(self, most: int) -> None:
        self.cut: list[Client] = []
        self.responses: UnsentResponses[Client] = UnsentResponses(most, self._cut_client)

    def _cut_client(self, client: Client) -> None:
        self.cut.append(client)
        self.responses.release(client)

    def add(self, whose: str, *sizes: int) -> list[Client]:
        clients = [Client(size) for size in sizes]
        for client in clients:
            self.responses.add(client, whose)
        return clients


def test_within_the_bound_nothing_is_cut():
    answers = Answers(100)
    answers.add("a", 50, 50)
    assert answers.cut == []


def test_who_holds_most_loses_what_has_waited_longest():
    answers = Answers(100)
    answers.add("slow", 30)
    hoard = answers.add("hoard", 30, 30)
    answers.add("new", 20)
    assert answers.cut == [hoard[0]]


def test_what_was_taken_meanwhile_counts_no_more():
    answers = Answers(100)
    (reading,) = answers.add("a", 90)
    reading.bytes_left = 10
    answers.add("b", 80)
    assert answers.cut == []


@pytest.mark.parametrize("again", [False, True])
def test_what_is_released_counts_no_more_however_often(again: bool):
    answers = Answers(100)
    (first,) = answers.add("a", 90)
    for _ in range(1 + again):
        answers.responses.release(first)
    answers.add("b", 90)
    assert answers.cut == []


def test_the_same_connection_counts_once_with_its_newest_size():
    answers = Answers(100)
    (first,) = answers.add("a", 60)
    first.bytes_left = 70
    answers.responses.add(first, "a")
    answers.add("b", 30)
    assert answers.cut == []


def test_one_alone_beyond_the_bound_is_cut():
    answers = Answers(100)
    assert answers.add("a", 101) == answers.cut
