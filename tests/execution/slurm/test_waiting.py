"""People are told once why jobs wait, and once that they do not any more; what will never start is given up."""

from __future__ import annotations

import pytest

from study.execution.slurm import gate, notices
from study.execution.slurm.notices import Notices
from study.execution.slurm.records import JobRecord, JobState
from study.execution.slurm.waiting import WaitingJobs


class Queue:
    """A queue that a test fills, looked at once a minute; every look is a new answer of SLURM's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.notices = Notices(lambda: self.now)
        self.jobs = WaitingJobs(self.notices)
        self.num_answers = 0

    def look(self, *reasons: str, started: tuple[str, ...] = (), is_new: bool = True) -> list[str]:
        """What is said of jobs 7, 8, … of one kind that wait for these reasons; hopeless ones are listed last."""
        self.now += 60
        self.num_answers += is_new
        queued = [("kind", record(str(7 + i), reason)) for i, reason in enumerate(reasons)]
        hopeless = self.jobs.look(queued, started, self.num_answers)
        return [*self.notices.take(), *(f"hopeless: {', '.join(found.job_ids)}" for found in hopeless.values())]


def record(job_id: str, reason: str) -> JobRecord:
    state = JobState.HELD if reason.startswith("JobHeld") else JobState.QUEUED
    return JobRecord(job_id, state, "PENDING", reason=reason)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(gate.Persistence, "__init__", _with_clock_of(queue := Queue()))
    return queue


def _with_clock_of(queue: Queue):
    original = gate.Persistence.__init__
    return lambda self: original(self, lambda: queue.now)


def test_what_passes_is_told_at_its_begin_and_at_its_end(queue: Queue) -> None:
    (begin,) = queue.look("PartitionDown", "PartitionDown")
    assert begin.startswith("2 SLURM jobs wait: the partition takes no jobs at present (PartitionDown); nothing to do")
    assert queue.look("PartitionDown", "PartitionDown") == []
    assert queue.look("PartitionInactive") == [], "the same in other words"
    (end,) = queue.look()
    assert end == "No job of the study waits any more because the partition takes no jobs at present (it took 2 min)"
    assert queue.look() == []
    assert len(queue.look("PartitionDown")) == 1, "it has come back, and is told again"


def test_a_reason_that_is_hidden_for_a_moment_is_not_told_again_and_again(queue: Queue, monkeypatch) -> None:
    monkeypatch.setattr(notices, "_GONE_AFTER_S", 130.0)
    said = [line for _ in range(20) for reason in ("PartitionDown", "Priority") for line in queue.look(reason)]
    assert len(said) == 1
    assert [line for _ in range(3) for line in queue.look("Priority")] == [
        "No job of the study waits any more because the partition takes no jobs at present (it took 38 min)"
    ]


def test_a_turn_in_the_queue_is_nothing_to_tell(queue: Queue) -> None:
    assert [line for _ in range(10) for line in queue.look("Priority", "Resources", "None", "")] == []


def test_what_is_held_can_be_released(queue: Queue) -> None:
    assert queue.look("JobHeldUser", "JobHeldAdmin") == [
        "SLURM holds job 7; release it: scontrol release 7", "SLURM holds job 8; release it: scontrol release 8",
    ]  # fmt: skip
    assert queue.look() == []


def test_what_is_not_known_is_told_and_waited_for(queue: Queue) -> None:
    (line,) = queue.look("OfALaterRelease")
    assert "OfALaterRelease, a reason that is not known here; waiting goes on" in line
    assert "scontrol show job 7" in line
    assert [line for _ in range(1000) for line in queue.look("OfALaterRelease")] == []


def test_what_lasts_is_given_up_when_it_has_lasted(queue: Queue) -> None:
    (line,) = queue.look("PartitionTimeLimit")
    assert "mend the site file" in line and "given up when that lasts for 5 min" in line
    said = [queue.look("PartitionTimeLimit", "PartitionTimeLimit") for _ in range(5)]
    assert said == [[]] * 4 + [["hopeless: 7, 8"]]


def test_the_same_answer_twice_proves_nothing(queue: Queue) -> None:
    """The controller is away, and what it said last stands."""
    queue.look("PartitionTimeLimit")
    assert [line for _ in range(100) for line in queue.look("PartitionTimeLimit", is_new=False)] == []


@pytest.mark.parametrize("others", [{"started": ("kind",)}, {}], ids=["one runs", "one waits for its turn"])
def test_what_one_job_of_the_kind_does_not_meet_does_not_last(queue: Queue, others: dict[str, tuple[str, ...]]) -> None:
    reasons = ("PartitionTimeLimit",) if others else ("PartitionTimeLimit", "Priority")
    queue.look(*reasons, **others)
    assert [line for _ in range(100) for line in queue.look(*reasons, **others)] == []
