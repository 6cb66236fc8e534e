"""Every reason that the SLURM which is installed knows has a class, and the right one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.execution.slurm import reasons
from study.execution.slurm.reasons import Obstacle, reason_of_refusal, reason_of_waiting

_LIBRARIES = "usr/lib*/**/libslurmfull.so"
# Of `slurm_errno.c` of later releases, of slurmctld, of sbatch itself, and of libc.
_ELSEWHERE = {
    "Connection refused", "Connection timed out", "Transport endpoint", "Resource temporarily unavailable",
    "temporarily unable to accept job", "Rate limit exceeded", "MaxJobCount", "is shutting down",
    "Licenses currently unavailable", "Max powered up nodes reached", "invalid partition specified",
    "Memory specification can not be satisfied",
}  # fmt: skip


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    found = next(Path("/").glob(_LIBRARIES), None)
    if found is None:
        pytest.skip("SLURM is not installed here")
    return ctypes.CDLL(str(found))


def names_of(library: ctypes.CDLL) -> list[str]:
    library.job_reason_string.restype = ctypes.c_char_p
    names = [library.job_reason_string(number).decode() for number in range(300)]
    return [name for name in dict.fromkeys(names) if not name.isdigit()]


def sentences_of(library: ctypes.CDLL) -> Iterator[str]:
    library.slurm_strerror.restype = ctypes.c_char_p
    for number in range(1000, 11000):
        text = library.slurm_strerror(number).decode()
        if not text.startswith("Unknown error"):
            yield text


def test_every_name_has_a_class(library: ctypes.CDLL) -> None:
    names = names_of(library)
    assert len(names) > 150
    assert not [name for name in names if reason_of_waiting(name).obstacle is Obstacle.UNKNOWN]


def test_every_sentence_of_the_table_is_one_of_slurms(library: ctypes.CDLL) -> None:
    known = " | ".join(sentences_of(library)).casefold()
    ours = {sentence for _, _, group in reasons._REFUSALS for sentence in group}
    assert {sentence for sentence in ours if sentence.casefold() not in known} <= _ELSEWHERE


@pytest.mark.parametrize(
    ("obstacle", "texts"),
    [
        (Obstacle.TURN, ["", "Priority", "Resources", "BeginTime", "Dependency", "JobArrayTaskLimit", "(Prolog)"]),
        (Obstacle.PASSING, [
            "PartitionDown", "(PartitionInactive)", "PartitionNodeLimit", "NodeDown", "Licenses", "Reservation",
            "ReqNodeNotAvail", "ReqNodeNotAvail, UnavailableNodes:node[1-2]",
            "ReqNodeNotAvail, Reserved for maintenance",
            "ReqNodeNotAvail(Unavailable:node1)", "ReqNodeNotAvail, May be reserved for other job",
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
            "QOSMaxJobsPerUserLimit", "QOSMaxGRESPerUser", "QOSMaxCpuPerUserLimit", "AssocGrpCpuLimit",
            "AssocGrpJobsLimit", "QOSGrpNodeLimit", "AssocGrpCPURunMinutesLimit", "AssocMaxJobsLimit",
            "AssocGrpCPUMinutesLimit", "QOSGrpBillingMinutes", "QOSUsageThreshold", "MaxCpuPerAccount",
        ]),
        (Obstacle.LASTING, [
            "PartitionTimeLimit", "DependencyNeverSatisfied", "BadConstraints", "InvalidQOS", "InvalidAccount",
            "AccountNotAllowed", "QOSMaxWallDurationPerJobLimit", "QOSMaxCpuPerJobLimit", "AssocMaxNodePerJobLimit",
            "QOSMinGRES", "MaxMemPerJob", "QOSMaxGRESPerNode", "AssocMaxWallDurationPerJobLimit", "MaxMemPerLimit",
        ]),
        (Obstacle.HELD, [
            "JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "launch failed requeued held",
            "(launch_failed_requeued_held)", "job requeued in held state",
        ]),
        (Obstacle.UNKNOWN, ["ReasonOfALaterRelease", "the site's own rule"]),
    ],
)  # fmt: skip
def test_why_jobs_wait(obstacle: Obstacle, texts: list[str]) -> None:
    assert {text: reason_of_waiting(text).obstacle for text in texts} == dict.fromkeys(texts, obstacle)


FAILED = "Batch job submission failed:"
POLICY = f"{FAILED} Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("obstacle", "messages"),
    [
        (Obstacle.PASSING, [
            f"{FAILED} Unable to contact slurm controller (connect failure)",
            f"{FAILED} Socket timed out on send/recv operation",
            f"{FAILED} Required partition not available (inactive or drain)",
            f"{FAILED} Partition in DOWN state",
            f"{FAILED} Required node not available (down, drained or reserved)",
            f"{FAILED} System submissions disabled",
            f"{FAILED} MaxJobCount limit reached",
            "Slurm temporarily unable to accept job, sleeping and retrying",
            f"QOSMaxSubmitJobPerUserLimit\nsbatch: error: {POLICY}",
            "AssocGrpSubmitJobsLimit", "AssocMaxSubmitJobLimit", "MaxSubmitJobsPerAccount",
        ]),
        (Obstacle.LASTING, [
            f"invalid partition specified: nowhere\nsbatch: error: {FAILED} Invalid partition name specified",
            f"{FAILED} Invalid account or account/partition combination specified",
            f"{FAILED} Invalid qos specification",
            f"{FAILED} Invalid feature specification",
            f"Memory specification can not be satisfied\n{FAILED} Requested node configuration is not available",
            f"{FAILED} Requested time limit is invalid (missing or exceeds some limit)",
            f"QOSMaxWallDurationPerJobLimit\nsbatch: error: {POLICY}",
        ]),
        (Obstacle.UNKNOWN, [POLICY, "please say which project", ""]),
    ],
)  # fmt: skip
def test_why_sbatch_refuses(obstacle: Obstacle, messages: list[str]) -> None:
    texts = [f"sbatch: error: {message}" for message in messages]
    assert {text: reason_of_refusal(text).obstacle for text in texts} == dict.fromkeys(texts, obstacle)


def test_what_people_are_told_has_a_meaning(library: ctypes.CDLL) -> None:
    told = [reason_of_waiting(name) for name in names_of(library)]
    assert all(reason.meaning for reason in told if reason.obstacle in (Obstacle.PASSING, Obstacle.LASTING))
