"""The printed history of a task cannot be forged by texts of vendors, users and operators."""

from pathlib import Path

from callbacks.explain import explain_task, find_tasks
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, made

EVIL = "\x1b[2J\x1b]0;x\x07\r\n2030-01-01T00:00:00.000Z  moves running -> stopped\u2028\u202e\x9b"


def lines_of(world: DeskHarness, name: str) -> list[str]:
    with world.ledger.read() as connection:
        (task,) = find_tasks(connection, name)
        return explain_task(connection, task).removesuffix("\n").split("\n")


def test_texts_of_others_make_no_lines_and_no_sequences(tmp_path: Path) -> None:
    world = made(tmp_path)
    plain = world.task("plain")
    world.line(plain, {"kind": "mark", "note": "fine"})
    task = world.task("evil", room_id=EVIL)
    world.line(task, {"kind": "mark", "note": EVIL, "by": EVIL})
    world.line(task, {"kind": "callback", "callback_id": "1", "event_at": T0, "verdict": "applied", "message": EVIL, "says": EVIL})

    found = lines_of(world, task.id)

    assert all(line.isprintable() for line in found)
    assert len(found) == len(lines_of(world, plain.id)) + 1
    assert not any(line.startswith("2030") for line in found)
    world.ledger.close()
