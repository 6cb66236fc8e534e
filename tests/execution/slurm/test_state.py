import itertools
import logging
import time

import pytest

from study.execution.slurm.commands import ask
from study.execution.slurm.queries import find_by_name
from study.execution.slurm.records import JobRecord, JobState, interpret
from study.execution.slurm.state import JobWatch
from tests.fakes.slurm_commands import SlurmCommands

_POLL_S = 30.0


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return SlurmCommands(tmp_path, monkeypatch)


class Polls:
    """A watch that has time pass between its polls."""

    def __init__(self, *job_ids, timeout_s=30.0):
        self.now_s = 0.0
        self.watch = JobWatch(_POLL_S, lambda: self.now_s, timeout_s)
        for job_id in job_ids:
            self.watch.watch(job_id)
        self.now_s = 100.0

    def next(self, job_id, polls=1) -> JobRecord:
        """The record after so many polls more."""
        for _ in range(polls):
            assert self.watch.refresh()
            self.now_s += _POLL_S
        return self.watch.state(job_id)

    def polls_until_over(self, job_id, at_most=30):
        return next(n for n in range(1, at_most + 1) if self.next(job_id).is_over)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState.QUEUED, "PENDING PD CONFIGURING CF REQUEUED RQ REQUEUE_FED RF RESIZING RS POWER_UP_NODE PU"),
        (JobState.HELD, "REQUEUE_HOLD RH SPECIAL_EXIT SE RESV_DEL_HOLD RD"),
        (JobState.RUNNING, "RUNNING R COMPLETING CG SIGNALING SI STAGE_OUT SO"),
        (JobState.PAUSED, "SUSPENDED S STOPPED ST"),
        (JobState.PREEMPTED, "PREEMPTED PR"),
        (JobState.NODE_LOST, "NODE_FAIL NF NODE_FAIL+ BOOT_FAIL BF"),
        (JobState.OUT_OF_TIME, "TIMEOUT TO DEADLINE DL"),
        (JobState.OUT_OF_MEMORY, "OUT_OF_MEMORY OOM OUT_OF_MEMORY+"),
        (JobState.CANCELLED, "CANCELLED CA CANCELLED+"),
        (JobState.FAILED, "FAILED F LAUNCH_FAILED LF"),
        (JobState.COMPLETED, "COMPLETED CD"),
        (JobState.UNKNOWN, "A_STATE_OF_A_LATER_RELEASE completed"),
    ],
)
def test_every_word_of_slurm(state, words):
    assert {word: interpret(word) for word in words.split()} == dict.fromkeys(words.split(), state)


def test_words_with_more_behind_them():
    assert interpret("CANCELLED by 1000") is JobState.CANCELLED
    assert interpret(" RUNNING ") is JobState.RUNNING
    assert interpret("FAILED", signal=125) is JobState.OUT_OF_MEMORY
    assert interpret("FAILED", signal=9) is JobState.FAILED


@pytest.mark.parametrize(
    "reason",
    [
        "launch failed requeued held", "(launch failed requeued held)", "launch_failed_requeued_held", "JobHeldUser",
        "JobHeldAdmin", "job requeued in held state", "job_requeued_in_held_state",
    ],
)  # fmt: skip
def test_a_pending_job_may_be_held(reason):
    assert interpret("PENDING", reason=reason) is JobState.HELD


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("7|COMPLETED|0:0|n1", JobRecord("7", JobState.COMPLETED, "COMPLETED", 0, 0, "n1", is_over=True)),
        ("7|FAILED|3:0|n1", JobRecord("7", JobState.FAILED, "FAILED", 3, 0, "n1", is_over=True)),
        ("7|FAILED|0:9|n1", JobRecord("7", JobState.FAILED, "FAILED", 0, 9, "n1", is_over=True)),
        ("7|FAILED|0:125|n1", JobRecord("7", JobState.OUT_OF_MEMORY, "FAILED", 0, 125, "n1", is_over=True)),
        ("7|OUT_OF_MEMORY|0:125|n1",
         JobRecord("7", JobState.OUT_OF_MEMORY, "OUT_OF_MEMORY", 0, 125, "n1", is_over=True)),
        ("7|TIMEOUT|0:0|n1", JobRecord("7", JobState.OUT_OF_TIME, "TIMEOUT", 0, 0, "n1", is_over=True)),
        ("7|NODE_FAIL|0:0|n[1-2]", JobRecord("7", JobState.NODE_LOST, "NODE_FAIL", 0, 0, "n[1-2]", is_over=True)),
        ("7|CANCELLED by 1000|0:0|None assigned",
         JobRecord("7", JobState.CANCELLED, "CANCELLED by 1000", 0, 0, None, cancelled_by=1000, is_over=True)),
    ],
)  # fmt: skip
def test_ends_as_accounted(slurm, row, expected):
    slurm.accounting(row)
    assert Polls("7").next("7") == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("7|PENDING||Priority", JobRecord("7", JobState.QUEUED, "PENDING", reason="Priority")),
        ("7|CONFIGURING|n1|None", JobRecord("7", JobState.QUEUED, "CONFIGURING", node="n1", reason="None")),
        ("7|RUNNING|n1|None", JobRecord("7", JobState.RUNNING, "RUNNING", node="n1", reason="None")),
        ("7|SUSPENDED|n1|None", JobRecord("7", JobState.PAUSED, "SUSPENDED", node="n1", reason="None")),
        ("7|REQUEUE_HOLD||None", JobRecord("7", JobState.HELD, "REQUEUE_HOLD", reason="None")),
        ("7|PENDING||(launch failed requeued held)",
         JobRecord("7", JobState.HELD, "PENDING", reason="launch failed requeued held")),
        ("7|PENDING||ReqNodeNotAvail, UnavailableNodes:n1|2",
         JobRecord("7", JobState.QUEUED, "PENDING", reason="ReqNodeNotAvail, UnavailableNodes:n1|2")),
    ],
)  # fmt: skip
def test_jobs_in_the_queue(slurm, row, expected):
    slurm.queue("8|PENDING||None", row, "a line of something else")
    assert Polls("7").next("7") == expected


def test_one_poll_for_all_jobs_per_interval(slurm):
    polls = Polls("7", "8", "9_1")
    slurm.queue("7|RUNNING|n1|None", "9_1|PENDING||None", "8|PENDING||None")
    for _ in range(5):
        polls.watch.refresh()
        polls.now_s += _POLL_S / 3 - 0.01
    assert [len(slurm.calls(program)) for program in ("sacct", "squeue", "scontrol")] == [2, 2, 0]
    assert "-j 7,8,9_1 " in slurm.calls("sacct")[0]
    assert "Restarts" not in slurm.calls("sacct")[0]


def test_force_asks_earlier_but_not_at_once(slurm):
    polls = Polls("7")
    slurm.queue("7|RUNNING|n1|None")
    asked = []
    for _ in range(3):
        asked.append(polls.watch.refresh(force=True))
        polls.now_s += _POLL_S / 8
    assert asked == [True, False, True]


def test_without_open_jobs_nobody_is_asked(slurm):
    polls = Polls("7", "8")
    slurm.accounting("7|COMPLETED|0:0|n1", "8|FAILED|1:0|n1")
    polls.next("7")
    assert not slurm.calls("squeue")
    assert not polls.watch.refresh(force=True)  # `sacct -j ''` would list every job of the day
    assert len(slurm.calls("sacct")) == 1
    assert not JobWatch().refresh()


def test_only_open_jobs_are_asked_for(slurm):
    polls = Polls("7", "8", "9")
    polls.watch.forget("9")
    slurm.accounting("8|COMPLETED|0:0|n1", "7|RUNNING|0:0|n1", "9|COMPLETED|0:0|n1")
    slurm.queue("7|RUNNING|n1|None")
    polls.next("7", polls=2)
    assert [call.split()[4] for call in slurm.calls("sacct")] == ["7,8", "7"]
    assert polls.watch.state("8").state is JobState.COMPLETED
    assert polls.watch.state("9") == JobRecord("9", JobState.UNKNOWN)


def test_unknown_before_the_first_answer():
    record = JobWatch().state("7")
    assert record.state is JobState.UNKNOWN
    assert not record.is_over


def test_rows_in_any_order(slurm):
    slurm.accounting("9_2|FAILED|1:0|n2", "7|RUNNING|0:0|n1", "9_1|COMPLETED|0:0|n1")
    slurm.queue("9_3|PENDING||None", "7|RUNNING|n1|None")
    polls = Polls("7", "9_1", "9_2", "9_3")
    polls.next("7")
    assert [polls.watch.state(i).state for i in ("7", "9_1", "9_2", "9_3")] == [
        JobState.RUNNING, JobState.COMPLETED, JobState.FAILED, JobState.QUEUED,
    ]  # fmt: skip


def test_from_configuring_to_the_end(slurm):
    polls = Polls("7")
    slurm.queue("7|CONFIGURING|n1|None")
    assert polls.next("7").state is JobState.QUEUED
    slurm.queue("7|RUNNING|n1|None")
    assert polls.next("7").state is JobState.RUNNING
    slurm.accounting("7|RUNNING|0:0|n1")
    slurm.queue("7|COMPLETING|n1|None")
    assert polls.next("7").state is JobState.RUNNING
    slurm.accounting("7|COMPLETED|0:0|n1")
    assert polls.next("7").is_over


def test_preempted_and_requeued(slurm):
    polls = Polls("7")
    slurm.accounting("7|PREEMPTED|0:0|n1")
    slurm.queue("7|PREEMPTED|n1|None")
    assert (polls.next("7", polls=2).state, polls.watch.state("7").is_over) == (JobState.PREEMPTED, False)
    slurm.queue("7|PENDING||BeginTime")  # the accounting is behind
    assert polls.next("7").state is JobState.QUEUED
    slurm.queue("7|RUNNING|n2|None")
    assert polls.next("7").state is JobState.RUNNING
    slurm.queue("7|PREEMPTED|n2|None")
    assert not polls.next("7", polls=2).is_over  # it counts anew


@pytest.mark.parametrize("queue", [[], ["7|PREEMPTED|n1|None"], ["7|PREEMPTED||None"]])
def test_preempted_for_good(slurm, queue):
    slurm.accounting("7|PREEMPTED|0:0|n1")
    slurm.queue(*queue)
    polls = Polls("7")
    assert polls.polls_until_over("7") == 3
    assert (polls.watch.state("7").state, polls.watch.state("7").node) == (JobState.PREEMPTED, "n1")


def test_only_the_same_in_a_row_counts(slurm):
    polls = Polls("7")
    slurm.accounting("7|PREEMPTED|0:0|n1")
    polls.next("7", polls=2)
    slurm.queue("7|CANCELLED|n1|None")  # requeued and cancelled; the accounting is behind
    assert not polls.next("7", polls=2).is_over
    assert polls.next("7").state is JobState.CANCELLED


def test_a_lost_node_whose_job_is_requeued(slurm):
    polls = Polls("7", "8")
    slurm.accounting("7|NODE_FAIL|0:0|n1", "8|NODE_FAIL|0:0|n1")
    slurm.queue("8|NODE_FAIL|n1|NodeDown", "7|PENDING||BeginTime")
    assert polls.next("7").state is JobState.QUEUED
    assert polls.watch.state("8") == JobRecord("8", JobState.NODE_LOST, "NODE_FAIL", 0, 0, "n1", is_over=True)
    slurm.queue("7|RUNNING|n2|None")
    assert polls.next("7") == JobRecord("7", JobState.RUNNING, "RUNNING", node="n2", reason="None")


def test_a_job_requeued_and_cancelled_after_its_node_was_lost(slurm):
    polls = Polls("7")
    slurm.accounting("7|NODE_FAIL|0:0|n1")
    slurm.queue("7|CANCELLED||BeginTime")
    assert not polls.next("7").is_over
    slurm.accounting("7|CANCELLED by 1000|0:0|None assigned")
    assert polls.next("7").cancelled_by == 1000


def test_a_lost_node_while_the_controller_is_away(slurm):
    polls = Polls("7", "8")
    slurm.queue("7|RUNNING|n1|None")
    polls.next("7")
    slurm.accounting("7|NODE_FAIL|0:0|n1", "8|NODE_FAIL|0:0|n1")
    slurm.controller_is_away()
    assert polls.next("7", polls=9).state is JobState.RUNNING  # it may be requeued
    assert polls.watch.state("8").state is JobState.UNKNOWN
    slurm.queue("7|NODE_FAIL|n1|NodeDown")
    assert polls.next("7").is_over


def test_members_of_a_pending_array(slurm):
    slurm.queue(*(f"9_{i}|PENDING||JobArrayTaskLimit" for i in range(3)))
    polls = Polls("9_0", "9_1", "9_2")
    assert polls.next("9_2").state is JobState.QUEUED
    assert all("--array" in call for call in slurm.calls("squeue"))
    slurm.queue("9_0|PENDING||None", "9_2|CANCELLED||JobArrayTaskLimit")  # one is cancelled and gone, one has just been
    slurm.accounting("9_0|CANCELLED by 0|0:0|n1")
    assert polls.next("9_2", polls=2).state is JobState.QUEUED, "the accounting, which is behind, may tell by whom"
    assert polls.next("9_2") == JobRecord(
        "9_2", JobState.CANCELLED, "CANCELLED", reason="JobArrayTaskLimit", is_over=True
    )
    assert polls.watch.state("9_0").cancelled_by == 0
    assert polls.watch.state("9_1") == JobRecord("9_1", JobState.MISSING, is_over=True)


def test_missing_twice_in_a_row(slurm):
    polls = Polls("7")
    slurm.queue("7|RUNNING|n1|None")
    polls.next("7")
    slurm.queue()
    assert polls.next("7").state is JobState.RUNNING
    slurm.controller_is_away()
    assert polls.next("7", polls=5).state is JobState.RUNNING
    slurm.queue("7|RUNNING|n1|None")
    polls.next("7")
    slurm.queue()
    slurm.memory()
    assert not polls.next("7").is_over  # the first time again
    assert polls.next("7") == JobRecord("7", JobState.MISSING, node="n1", is_over=True)


def test_not_missing_right_after_the_submission(slurm):
    watch = JobWatch(1.0, clock=itertools.count().__next__)  # a second per look at the clock
    watch.watch("7")  # at 0
    for _ in range(9):
        assert watch.refresh()
        assert not watch.state("7").is_over
    assert watch.refresh()  # at 10
    assert not watch.state("7").is_over
    assert watch.refresh()
    assert watch.state("7").state is JobState.MISSING


def test_the_controller_remembers_what_the_queue_does_not_show(slurm):
    slurm.memory("JobId=7 JobName=x JobState=RUNNING Reason=None ExitCode=0:0 NodeList=n1")
    polls = Polls("7")
    assert polls.next("7", polls=4) == JobRecord("7", JobState.RUNNING, "RUNNING", 0, 0, "n1", "None")


def test_a_row_that_the_accounting_never_closed(slurm):
    slurm.accounting("7|RUNNING|0:0|n1")
    polls = Polls("7")
    assert polls.polls_until_over("7") == 3
    assert polls.watch.state("7") == JobRecord("7", JobState.MISSING, node="n1", is_over=True)


def test_the_accounting_tells_the_end_a_little_later(slurm):
    polls = Polls("7", "8")
    slurm.accounting("7|RUNNING|0:0|n1", "8|RUNNING|0:0|n1")
    slurm.queue("7|FAILED|n1|NonZeroExitCode", "8|FAILED|n1|NonZeroExitCode")
    assert not polls.next("7").is_over
    slurm.accounting("7|OUT_OF_MEMORY|0:125|n1", "8|RUNNING|0:0|n1")
    assert polls.next("7").state is JobState.OUT_OF_MEMORY
    assert not polls.watch.state("8").is_over
    assert polls.next("8").state is JobState.FAILED


@pytest.mark.parametrize("queue", [["7|FAILED|n1|NonZeroExitCode"], []])
def test_an_accounting_that_is_behind_takes_nothing_back(slurm, queue):
    """A job that has run and is still PENDING there has not been requeued."""
    polls = Polls("7")
    slurm.queue("7|RUNNING|n1|None")
    assert polls.next("7").state is JobState.RUNNING
    slurm.accounting("7|PENDING|0:0|n1")
    slurm.queue(*queue)
    assert [polls.next("7").state for _ in range(2)] == [JobState.RUNNING] * 2
    assert polls.next("7").is_over


def test_without_accounting_the_queue_tells(slurm):
    slurm.accounting_is_disabled()
    polls = Polls("7", "8")
    slurm.queue("7|RUNNING|n1|None", "8|PENDING||None")
    assert [polls.next("7").state, polls.watch.state("8").state] == [JobState.RUNNING, JobState.QUEUED]
    slurm.queue("7|FAILED|n1|OutOfMemory", "8|PENDING||None")
    slurm.memory("JobId=7 JobState=FAILED Reason=OutOfMemory ExitCode=0:125 NodeList=n1")
    assert polls.next("7") == JobRecord(
        "7", JobState.OUT_OF_MEMORY, "FAILED", 0, 125, "n1", "OutOfMemory", is_over=True
    )
    slurm.queue()
    slurm.memory()
    assert polls.polls_until_over("8") == 2
    assert polls.watch.state("8").state is JobState.MISSING


@pytest.mark.parametrize("silence", ["hangs", "fails", "is_missing"])
def test_silent_accounting(slurm, silence, monkeypatch):
    getattr(slurm, silence)("sacct", *(["Connection refused"] if silence == "fails" else []))
    polls = Polls("7", timeout_s=0.3)
    slurm.queue("7|RUNNING|n1|None")
    start = time.monotonic()
    assert polls.next("7").state is JobState.RUNNING
    assert time.monotonic() - start < 10
    slurm.queue()
    assert polls.next("7", polls=9).state is JobState.RUNNING  # the accounting may yet tell how it ended
    if silence != "is_missing":
        slurm.accounting("7|TIMEOUT|0:0|n1")
        assert polls.next("7").state is JobState.OUT_OF_TIME
    else:
        assert polls.next("7").state is JobState.MISSING  # nobody will ever tell


def test_the_controller_restarts(slurm):
    polls = Polls("7", "8", "9")
    slurm.accounting("7|RUNNING|0:0|n1", "8|PREEMPTED|0:0|n1")
    slurm.queue("7|RUNNING|n1|None", "8|RUNNING|n1|None", "9|PENDING||None")
    polls.next("7")
    slurm.controller_is_away()
    polls.next("7", polls=12)
    assert [polls.watch.state(i).state for i in "789"] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
    assert not any(polls.watch.state(i).is_over for i in "789")
    assert not slurm.calls("scontrol")  # it would ask the same controller, for every job


def test_when_all_are_silent_the_last_record_stays(slurm):
    polls = Polls("7", "8")
    slurm.queue("7|RUNNING|n1|None")
    before = polls.next("7")
    slurm.controller_is_away()
    slurm.fails("sacct", "Connection refused")
    assert polls.next("7", polls=20) == before
    assert polls.watch.state("8").state is JobState.UNKNOWN


def test_the_controller_dies_between_two_questions(slurm):
    polls = Polls("7", "8", "9", timeout_s=0.3)
    slurm.queue("9|RUNNING|n1|None")
    slurm.hangs("scontrol")
    polls.next("7", polls=4)
    assert [polls.watch.state(i).state for i in "789"] == [JobState.UNKNOWN, JobState.UNKNOWN, JobState.RUNNING]
    assert len(slurm.calls("scontrol")) == 4  # once a poll, however many jobs


def test_a_strange_answer_about_one_job_is_no_silence_about_others(slurm):
    polls = Polls("7", "8")
    slurm.fails("scontrol", "Access/permission denied")
    slurm.accounting("8|RUNNING|0:0|n1")
    polls.next("7", polls=4)
    assert not polls.watch.state("7").is_over
    slurm.accounting("8|NODE_FAIL|0:0|n1")
    slurm.queue("8|PENDING||BeginTime")
    assert polls.next("8").state is JobState.QUEUED
    assert sorted(set(slurm.calls("scontrol"))) == ["--oneliner show job 7", "--oneliner show job 8"]


def test_while_the_controller_is_away_reasons_stay(slurm):
    polls = Polls("7", "8")
    slurm.queue("7|PENDING||JobHeldUser")
    polls.next("7")
    slurm.controller_is_away()
    slurm.accounting("7|PENDING|0:0|None assigned", "8|RUNNING|0:0|n1")
    assert polls.next("7").state is JobState.HELD
    assert polls.watch.state("8").state is JobState.RUNNING
    slurm.accounting("7|CANCELLED by 1000|0:0|None assigned", "8|COMPLETED|0:0|n1")
    assert polls.next("7").cancelled_by == 1000
    assert polls.watch.state("8").state is JobState.COMPLETED


def test_a_state_of_a_later_release(slurm):
    slurm.accounting("7|SHINY_NEW|0:0|n1")
    slurm.queue("7|SHINY_NEW|n1|None")
    record = Polls("7").next("7", polls=5)
    assert (record.state, record.raw, record.is_over) == (JobState.UNKNOWN, "SHINY_NEW", False)


def test_jobs_by_name(slurm):
    slurm.queue("7|study-a-w1", "9_0|study-a|w2", "8|study-b-w1", "nonsense")
    assert find_by_name("study-a") == {"7": "study-a-w1", "9_0": "study-a|w2"}
    slurm.controller_is_away()
    assert find_by_name("study-a") is None


def test_ask(slurm, monkeypatch):
    monkeypatch.setenv("SQUEUE_PARTITION", "elsewhere")  # would hide our jobs
    slurm.queue("Zoë")
    assert ask("squeue", "-a b", "c") == "Zoë\n"
    assert slurm.calls("squeue") == ["-a b c"]
    slurm.fails("squeue", "no such thing")
    assert ask("squeue") is None
    assert ask("squeue", answers=["such"]) == ""


def test_users_settings_do_not_reach_slurm(tmp_path, monkeypatch):
    for name in ("SQUEUE_PARTITION", "SACCT_FORMAT", "SINFO_FORMAT"):
        monkeypatch.setenv(name, "x")
    answer = ask("env")
    assert answer is not None
    assert "SLURM_TIME_FORMAT=standard" in answer
    assert not any(word in answer for word in ("SQUEUE_", "SACCT_", "SINFO_"))


def test_undecodable_names_do_no_harm(slurm, tmp_path):
    slurm.queue("7|x")
    (tmp_path / "squeue.output").write_bytes(b"7|study-\xff\n")
    assert find_by_name("study-") == {"7": "study-\N{REPLACEMENT CHARACTER}"}


def test_silence_is_reported_once_per_reason(slurm, caplog):
    caplog.set_level(logging.WARNING)
    slurm.accounting()
    ask("sacct")
    slurm.hangs("sacct")
    for ids in ("1", "1,2", "2"):
        assert ask("sacct", "-j", ids, timeout_s=0.1) is None
    slurm.fails("sacct", "Connection refused")
    ask("sacct")
    slurm.hangs("sacct")
    ask("sacct", timeout_s=0.1)
    assert [record.getMessage() for record in caplog.records] == [
        "sacct does not answer: nothing within 0.1 s", "sacct does not answer: Connection refused",
    ]  # fmt: skip
    slurm.accounting()
    ask("sacct")
    slurm.fails("sacct", "Connection refused")
    ask("sacct")
    assert len(caplog.records) == 3  # it had answered in between
