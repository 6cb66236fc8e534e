"""Every class of endings has its rule."""

from __future__ import annotations

import pytest

from study.journal.endings import Ending, EndKind
from study.journal.replay import AttemptState, AttemptStatus
from study.orchestration.policy import RULES, end_kind, has_progressed, reason_to_give_up


def attempt(kind: EndKind | None = None, *, checkpoint: int = 0, status: AttemptStatus = AttemptStatus.STARTED):
    verdict = Ending(kind, "so it goes", "node1") if kind else None
    return AttemptState(1, status, {}, verdict=verdict, checkpoint_step=checkpoint)


BORNE = [EndKind.PREEMPTED, EndKind.STOPPED, EndKind.NOT_STARTED, EndKind.WORKER_CANCELLED]


@pytest.mark.parametrize("kind", BORNE)
def test_what_is_nobodys_fault_is_borne_for_ever(kind: EndKind) -> None:
    assert reason_to_give_up([attempt(kind)] * 1000) is None


@pytest.mark.parametrize(
    ("kind", "num_tries"),
    [
        (EndKind.NODE_LOST, 5),
        (EndKind.OUT_OF_TIME, 1),
        (EndKind.HOST_MEMORY, 1),
        (EndKind.CANCELLED, 1),
        (EndKind.LAUNCH_FAILED, 3),
        (EndKind.HUNG, 2),
        (EndKind.LOST, 3),
        (EndKind.DISK, 1),
    ],
)
def test_the_rest_is_tried_so_often_without_progress(kind: EndKind, num_tries: int) -> None:
    assert reason_to_give_up([attempt(kind)] * (num_tries - 1)) is None
    reason = reason_to_give_up([attempt(kind)] * num_tries)
    assert reason is not None
    for part in (
        str(kind),
        "on node1",
        "so it goes",
        RULES[kind].advice.format(check_site="python -m study site check FILE"),
    ):
        assert part in reason
    assert (f"{num_tries} times" in reason) == (num_tries > 1)


def test_every_class_has_a_rule() -> None:
    assert set(RULES) == set(EndKind)


@pytest.mark.parametrize("kind", [EndKind.OUT_OF_TIME, EndKind.NODE_LOST, EndKind.HUNG])
def test_progress_is_forgiven_everything(kind: EndKind) -> None:
    """A training that takes ten time limits is as good as one that takes one."""
    attempts = [attempt(kind, checkpoint=step) for step in range(1, 20)]
    assert all(map(has_progressed, attempts))
    assert reason_to_give_up(attempts) is None
    assert reason_to_give_up([*attempts, *[attempt(kind)] * 5]) is not None


def test_classes_are_counted_apart_and_in_any_order() -> None:
    mixed = [attempt(EndKind.LOST), attempt(EndKind.HUNG), attempt(EndKind.PREEMPTED), attempt(EndKind.LOST)]
    assert reason_to_give_up(mixed) is None
    assert reason_to_give_up([*mixed, attempt(EndKind.PREEMPTED)]) is None
    assert reason_to_give_up([*mixed, attempt(EndKind.LOST)]) is not None


def test_an_attempt_without_a_verdict_speaks_for_itself() -> None:
    expected = {
        AttemptStatus.INTENDED: EndKind.LOST,
        AttemptStatus.STARTED: EndKind.LOST,
        AttemptStatus.REVOKED: EndKind.NOT_STARTED,
        AttemptStatus.STOPPED: EndKind.STOPPED,
        AttemptStatus.FINISHED: None,
        AttemptStatus.FAILED: None,
    }
    assert {status: end_kind(attempt(status=status)) for status in AttemptStatus} == expected
    assert reason_to_give_up([]) is None
    assert reason_to_give_up([attempt(status=AttemptStatus.FINISHED)]) is None
