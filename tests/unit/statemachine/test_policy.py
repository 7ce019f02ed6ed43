"""Policies: validation field by field, and defaults."""

import pytest

from statemachine.policy import (
    POLICY_FIELDS,
    Policy,
    RecoveryPolicy,
    RenewPolicy,
    RestartPolicy,
    StartPolicy,
    parse_policy,
    policy_problems,
)
from statemachine.states import FINAL, LIVE, State

DAY_S = 24 * 3600
WHOLE = {
    "start": {"max_attempts": 3, "max_elapsed_s": 60},
    "recovery": {"stop": True, "max_s": 600},
    "renew": {"params": {"TaskId": "other"}, "lead_s": 900},
    "restart": {"on": ["failed", "lost"], "pause_s": 0, "max": 7},
    "reach": "stop",
    "stop_zombies": True,
}
NUMBERS = [
    ("start", "max_attempts", 1, 100),
    ("start", "max_elapsed_s", 1, DAY_S),
    ("recovery", "max_s", 60, DAY_S),
    ("renew", "lead_s", 60, DAY_S),
    ("restart", "pause_s", 0, DAY_S),
    ("restart", "max", 1, 1000),
]
#: Required fields of sections.
NEEDED = {"renew": {"params": {}}, "restart": {"on": ["failed"]}}


def section(name: str, **members) -> dict:
    return {name: NEEDED.get(name, {}) | members}


# Validation.


@pytest.mark.parametrize("doc", [{}, WHOLE, *({name: WHOLE[name]} for name in WHOLE)])
def test_a_policy_may_leave_anything_out(doc):
    assert policy_problems(doc) == []


@pytest.mark.parametrize("doc", [None, [], "stop", 1, True])
def test_a_policy_is_an_object(doc):
    assert policy_problems(doc) == [("policy", "must be an object")]


@pytest.mark.parametrize(("name", "member", "least", "most"), NUMBERS)
def test_a_number_lies_within_its_limits(name, member, least, most):
    wrong = [(f"policy.{name}.{member}", f"must be a whole number from {least} to {most}")]
    for value in (least, most):
        assert policy_problems(section(name, **{member: value})) == []
    for value in (least - 1, most + 1, -1, 1.0 * least, str(least), None, True, [least]):
        assert policy_problems(section(name, **{member: value})) == wrong


@pytest.mark.parametrize("value", [1, 0, "true", None, []])
def test_a_flag_is_true_or_false(value):
    assert policy_problems({"recovery": {"stop": value}}) == [("policy.recovery.stop", "must be true or false")]
    assert policy_problems({"stop_zombies": value}) == [("policy.stop_zombies", "must be true or false")]


@pytest.mark.parametrize("value", ["Stop", "", None, True, ["stop"], {}])
def test_reach_is_one_of_two_words(value):
    assert policy_problems({"reach": value}) == [("policy.reach", 'must be "mark" or "stop"')]


@pytest.mark.parametrize("state", sorted(FINAL))
def test_any_final_state_may_be_restarted(state):
    assert policy_problems({"restart": {"on": [state.value]}}) == []


@pytest.mark.parametrize("value", [[], "failed", ["running"], ["failed", 1], ["failed", None], [["failed"]], {}, None, ["FAILED"]])
def test_restart_names_final_states(value):
    ((field, says),) = policy_problems({"restart": {"on": value}})
    assert field == "policy.restart.on"
    assert says.startswith("must be a list of ")
    assert not any(state in says.split(", ") for state in LIVE)


@pytest.mark.parametrize("value", [[], None, "x", 1])
def test_the_parameters_of_a_renewal_are_an_object(value):
    assert [field for field, _ in policy_problems({"renew": {"params": value}})] == ["policy.renew.params"]


@pytest.mark.parametrize(("name", "member"), [("renew", "params"), ("restart", "on")])
def test_required_fields_of_a_section_must_be_given(name, member):
    ((field, says),) = policy_problems({name: {}})
    assert field == f"policy.{name}.{member}"
    assert says.startswith("must be given: ")


@pytest.mark.parametrize("name", ["start", "recovery", "renew", "restart"])
@pytest.mark.parametrize("value", [None, [], 1, "x", True])
def test_a_section_is_an_object(name, value):
    assert policy_problems({name: value}) == [(f"policy.{name}", "must be an object")]


def test_an_unknown_field_is_reported_with_the_known_ones():
    assert policy_problems({"retry": {}}) == [
        ("policy.retry", "is not known; there are start, recovery, renew, restart, reach, stop_zombies")
    ]


@pytest.mark.parametrize("name", ["start", "recovery", "renew", "restart"])
def test_an_unknown_field_of_a_section_is_reported_with_the_known_ones(name):
    known = ", ".join(POLICY_FIELDS[name])
    assert policy_problems(section(name, often=1)) == [(f"policy.{name}.often", f"is not known; there are {known}")]


def test_the_nameless_section_is_no_field():
    assert [field for field, _ in policy_problems({"": {}})] == ["policy."]


def test_all_problems_are_reported_at_once():
    doc = {"start": {"max_attempts": 0, "x": 1}, "renew": {"lead_s": 1}, "reach": "x", "y": 1}
    assert {field for field, _ in policy_problems(doc)} == {
        "policy.start.max_attempts",
        "policy.start.x",
        "policy.renew.lead_s",
        "policy.renew.params",
        "policy.reach",
        "policy.y",
    }


# Parsing.


def test_an_empty_policy_has_the_contracts_defaults():
    assert parse_policy({}) == Policy(
        start=StartPolicy(max_attempts=8, max_elapsed_s=600),
        recovery=RecoveryPolicy(stop=False, max_s=1800),
        renew=None,
        restart=None,
        reach_stop=False,
        stop_zombies=False,
    )


def test_a_whole_policy_is_read_as_it_stands():
    assert parse_policy(WHOLE) == Policy(
        start=StartPolicy(max_attempts=3, max_elapsed_s=60),
        recovery=RecoveryPolicy(stop=True, max_s=600),
        renew=RenewPolicy(params={"TaskId": "other"}, lead_s=900),
        restart=RestartPolicy(on=(State.FAILED, State.LOST), pause_s=0, max=7),
        reach_stop=True,
        stop_zombies=True,
    )


def test_a_section_fills_in_what_it_leaves_out():
    assert parse_policy({"start": {"max_attempts": 2}}).start == StartPolicy(max_attempts=2, max_elapsed_s=600)
    assert parse_policy({"recovery": {"stop": True}}).recovery == RecoveryPolicy(stop=True, max_s=1800)
    assert parse_policy({"renew": {"params": {"a": 1}}}).renew == RenewPolicy(params={"a": 1}, lead_s=600)
    assert parse_policy({"restart": {"on": ["expired"]}}).restart == RestartPolicy(on=(State.EXPIRED,), pause_s=5, max=3)
    assert parse_policy({"reach": "mark"}) == Policy()


def test_the_documented_defaults_are_those_that_are_read():
    defaults = parse_policy(NEEDED)
    for name in ("start", "recovery", "renew", "restart"):
        told = {
            member: POLICY_FIELDS[name][member].default
            for member in POLICY_FIELDS[name]
            if not POLICY_FIELDS[name][member].required
        }
        assert told == {member: getattr(getattr(defaults, name), member) for member in told}
    assert (POLICY_FIELDS[""]["reach"].default, POLICY_FIELDS[""]["stop_zombies"].default) == ("mark", False)


def test_the_parameters_of_a_renewal_do_not_show():
    assert "secret" not in repr(parse_policy({"renew": {"params": {"Token": "secret"}}}))
