"""The files under deploy/ say what the command line understands."""

import re
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SUBCOMMANDS = {"up", "web", "work", "check", "db upgrade"}


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def subcommand(command: str) -> str:
    match = re.fullmatch(r"-?/opt/tallylight/bin/tally ([a-z ]+) --config /etc/tallylight/tally\.toml", command)
    assert match, command
    return match[1]


def test_there_are_three_units() -> None:
    assert [unit.name for unit in UNITS] == ["tally-web.service", "tally-work@.service", "tally.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_subcommands_that_exist(unit: Path) -> None:
    commands = values(unit, "ExecStart") + values(unit, "ExecStartPre")

    assert {subcommand(command) for command in commands} <= SUBCOMMANDS


@pytest.mark.parametrize(("name", "command"), [("tally", "up"), ("tally-web", "web"), ("tally-work@", "work")])
def test_a_unit_runs_its_own_part(name: str, command: str) -> None:
    (start,) = values(DEPLOY / "systemd" / f"{name}.service", "ExecStart")

    assert subcommand(start) == command


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_checks_its_configuration_first(unit: Path) -> None:
    assert subcommand(values(unit, "ExecStartPre")[0]) == "check"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_comes_back_and_may_write_its_state_only(unit: Path) -> None:
    expected = {"Restart": "always", "ProtectSystem": "strict", "StateDirectory": "tally", "NoNewPrivileges": "yes"}

    assert {key: values(unit, key) for key in expected} == {key: [value] for key, value in expected.items()}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_migration_may_take_its_time(unit: Path) -> None:
    """After systemd's usual 90 s it was killed and begun again, for ever: about a million events took as long."""
    assert values(unit, "TimeoutStartSec") == ["infinity"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_installation_guide_installs_each_unit(unit: Path) -> None:
    assert f"deploy/systemd/{unit.name}" in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_the_installation_guide_installs_only_what_is_pinned_and_hashed() -> None:
    guide = (DEPLOY / "README.md").read_text(encoding="utf-8")
    installs = [line.partition("#")[0].split() for line in guide.splitlines() if "pip install" in line]

    assert [line for line in installs if "--require-hashes" not in line and not {"--no-deps", "--no-index"} <= set(line)] == []
    assert len(installs) == 4, "an installation and an upgrade, of the dependencies and of the program each"


def test_the_proxy_makes_the_door_public_and_nothing_else() -> None:
    conf = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")

    assert re.findall(r"location (\S+) \{", conf) == ["/callbacks/", "/"]
    assert re.search(r"location / \{\s*return 404;", conf)
    assert "client_max_body_size 1m;" in conf
