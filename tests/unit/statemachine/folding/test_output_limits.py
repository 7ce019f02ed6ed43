"""Limits of files and outputs per task; which of them are kept does not depend on the order of arrival."""

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact, FactKind, File
from statemachine.folding.output_limits import MAX_FILES, MAX_OUTPUTS, limit_files
from statemachine.tasks import Lineage
from tests.support.times import T0
from tests.unit.statemachine.lineage_scenario import LineageScenario
from tests.unit.statemachine.strategies import ONE_RUN
from tests.unit.statemachine.test_order import KEY, NOW


def fact(number: int = 1, **more: object) -> Fact:
    return Fact(at=T0 + number, received_at=T0 + number, key=f"k{number}", source=f"{number}", **{"kind": FactKind.FILES, **more})  # type: ignore[arg-type]


def receive(*facts: Fact) -> Lineage:
    lineage = Lineage(key=KEY)
    for each in facts:
        lineage = decide(lineage, CallbackReceived(fact=each), NOW, lambda kind, params: ONE_RUN).lineage
    return lineage


def named(first: int, number: int) -> tuple[File, ...]:
    return tuple(File(name=f"{each}.mp4") for each in range(first, first + number))


def test_a_usual_fact_is_the_very_same():
    usual = fact(files=named(0, MAX_FILES))
    assert limit_files(usual) is usual


def test_files_beyond_the_limit_are_left_out_and_the_list_is_marked_as_truncated():
    (exact,) = receive(fact(1, files=named(0, MAX_FILES))).tasks
    assert (len(exact.view.files), exact.view.files_truncated) == (MAX_FILES, False)
    (more,) = receive(fact(1, files=named(0, MAX_FILES)), fact(2, files=named(MAX_FILES - 1, 2))).tasks
    assert (len(more.view.files), more.view.files_truncated) == (MAX_FILES, True)
    (at_once,) = receive(fact(1, files=named(0, 10 * MAX_FILES))).tasks
    assert (len(at_once.view.files), at_once.view.files_truncated) == (MAX_FILES, True)


def test_of_very_many_outputs_the_newest_stay():
    story = LineageScenario()
    for second in range(2 * MAX_OUTPUTS):
        story.tencent(401, second, Url=f"rtmp://a/{second}", Status=2)
    assert set(story.outputs) == {f"rtmp://a/{second}" for second in range(MAX_OUTPUTS, 2 * MAX_OUTPUTS)}
