"""Of one task so much is kept, whatever its vendor sends; what goes beyond is dropped in a way that stays the same."""

from statemachine.decide import decide
from statemachine.events import Heard
from statemachine.facts import Fact, FactKind, File
from statemachine.folding.output_limits import MOST_FILES, MOST_OUTPUTS, bounded
from statemachine.tasks import Lineage
from tests.unit.statemachine.driver import Story
from tests.unit.statemachine.strategies import ONE_RUN, T0
from tests.unit.statemachine.test_order import KEY, NOW


def fact(number: int = 1, **more: object) -> Fact:
    return Fact(at=T0 + number, received_at=T0 + number, key=f"k{number}", source=f"{number}", **{"kind": FactKind.FILES, **more})  # type: ignore[arg-type]


def hear(*facts: Fact) -> Lineage:
    lineage = Lineage(key=KEY)
    for each in facts:
        lineage = decide(lineage, Heard(fact=each), NOW, lambda kind, params: ONE_RUN).lineage
    return lineage


def named(first: int, number: int) -> tuple[File, ...]:
    return tuple(File(name=f"{each}.mp4") for each in range(first, first + number))


def test_a_usual_fact_is_the_very_same():
    usual = fact(files=named(0, MOST_FILES))
    assert bounded(usual) is usual


def test_files_beyond_the_limit_are_left_out_and_it_is_said():
    (exact,) = hear(fact(1, files=named(0, MOST_FILES))).tasks
    assert (len(exact.view.files), exact.view.files_truncated) == (MOST_FILES, False)
    (more,) = hear(fact(1, files=named(0, MOST_FILES)), fact(2, files=named(MOST_FILES - 1, 2))).tasks
    assert (len(more.view.files), more.view.files_truncated) == (MOST_FILES, True)
    (at_once,) = hear(fact(1, files=named(0, 10 * MOST_FILES))).tasks
    assert (len(at_once.view.files), at_once.view.files_truncated) == (MOST_FILES, True)


def test_of_very_many_outputs_the_newest_stay():
    story = Story()
    for second in range(2 * MOST_OUTPUTS):
        story.tencent(401, second, Url=f"rtmp://a/{second}", Status=2)
    assert set(story.outputs) == {f"rtmp://a/{second}" for second in range(MOST_OUTPUTS, 2 * MOST_OUTPUTS)}
