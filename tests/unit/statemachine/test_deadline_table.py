"""The table of deadlines is total, and its sentences fit its functions."""

import re

import pytest

from statemachine.deadlines import DEADLINES, DeadlineRule, markdown_table
from statemachine.states import Anomaly, Deadline, Reason, State

RULES = pytest.mark.parametrize("rule", [pytest.param(rule, id=kind.value) for kind, rule in DEADLINES.items()])
#: Words in backquotes that are neither deadlines nor states, reasons or anomalies.
MORE_WORDS = {"renew", "restart", '"reach": "stop"'}


def test_each_deadline_has_a_row():
    assert sorted(DEADLINES) == sorted(Deadline)


@RULES
def test_a_deadline_is_armed_for_live_or_for_ended_tasks(rule: DeadlineRule):
    assert rule.is_for_live or rule.is_for_ended


@RULES
def test_a_row_says_why_nothing_is_inferred(rule: DeadlineRule):
    assert rule.inferred_text.startswith("Stays silent, because ") is (rule.infer is None)


@RULES
def test_each_cell_is_one_or_more_sentences(rule: DeadlineRule):
    for text in (rule.armed_text, rule.passed_text, rule.inferred_text):
        assert text[0] in text[0].upper() + "`"
        assert text.endswith(".")
        assert "|" not in text


@RULES
def test_the_words_of_a_row_are_words_of_the_contract(rule: DeadlineRule):
    known = {*State, *Reason, *Anomaly, *Deadline, *MORE_WORDS}
    words = re.findall(r"`([^`]+)`", rule.armed_text + rule.passed_text + rule.inferred_text)
    assert [word for word in words if word not in known and not re.fullmatch(r"(start|recovery|renew|restart)\.\w+", word)] == []


def test_the_markdown_table_has_a_line_for_each_deadline():
    lines = markdown_table().splitlines()
    assert [line.split("|")[1].strip(" `") for line in lines[2:]] == list(DEADLINES)
