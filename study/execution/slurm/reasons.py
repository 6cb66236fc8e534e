"""Why SLURM does not start a job, or does not take one, and what that means: this table, and no other place.

Sources: the names are those of `job_state_reason.c` (`job_reason_string` before release 23.11) and of the manual of
squeue, "JOB REASON CODES"; the sentences those of `slurm_errno.c`, and what slurmctld and sbatch write beside them. A
test goes through all names and sentences of the SLURM that is installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Obstacle(StrEnum):
    """What to do about a reason."""

    TURN = "its turn will come"  # wait, and say nothing
    PASSING = "passes by itself"  # say so, and wait: for somebody who mends it, for the end of something, for months
    UNKNOWN = "not known"  # say so, and wait: a later release, or a site's own rule
    HELD = "held"  # say how to release it, and wait
    LASTING = "lasts"  # say so, and when it has lasted for a while, give up what waits


@dataclass(frozen=True)
class Reason:
    """One reason as SLURM gives it.

    Attributes:
        obstacle: its class.
        text: what SLURM calls it, without what varies from job to job.
        meaning: the same in words; empty where nobody needs to know.
    """

    obstacle: Obstacle
    text: str
    meaning: str


_DOWN = "nodes that could be used are down, drained or reserved"
_PARTITION = "the partition takes no jobs at present"
_LIMIT = "a limit on what you, your account or the QoS may use at once or in a period is reached"
_NEVER = "no such job may ever run there"
_NOBODY = "you may not use it"

# Of jobs in the queue: whole names.
_NAMES = (
    (Obstacle.TURN, "", "None Prolog Priority Resources Dependency BeginTime Cleaning JobArrayTaskLimit FedJobLock"),
    (Obstacle.TURN, "", "WaitingForScheduling SchedDefer BlockFreeAction"),
    # Of jobs that are over; `state.py` judges these.
    (Obstacle.TURN, "", "NonZeroExitCode RaisedSignal TimeLimit InactiveLimit OutOfMemory DeadLine JobLaunchFailure"),
    (Obstacle.TURN, "", "SystemFailure BlockMaxError"),
    (Obstacle.PASSING, _PARTITION, "PartitionDown PartitionInactive"),
    (Obstacle.PASSING, _DOWN, "NodeDown FrontEndDown ReqNodeNotAvail"),
    # "Can also indicate that required nodes are DOWN or DRAINED" (manual), and "not available now" (slurm_errno.c).
    (Obstacle.PASSING, "the partition has too few nodes, at present or ever", "PartitionNodeLimit"),
    (Obstacle.PASSING, "the partition has too few nodes, at present or ever", "PartitionConfig"),
    (Obstacle.PASSING, "a reservation has not begun", "Reservation"),
    (Obstacle.PASSING, "something that is needed is used up at present", "Licenses PowerNotAvail PowerReserved"),
    (Obstacle.PASSING, "something that is needed is used up at present", "BurstBufferResources BurstBufferStageIn"),
    (Obstacle.PASSING, _LIMIT, "AssociationJobLimit AssociationResourceLimit AssociationTimeLimit AccountingPolicy"),
    (Obstacle.PASSING, _LIMIT, "QOSJobLimit QOSResourceLimit QOSTimeLimit QOSUsageThreshold"),
    (Obstacle.PASSING, _LIMIT, r"(Assoc|QOS)Grp\w+ AssocMaxJobsLimit (Assoc|QOS)?MaxSubmitJob\w*"),
    (Obstacle.PASSING, _LIMIT, r"(QOS)?Max\w+Per(User|Account)(Limit)?"),
    (Obstacle.HELD, "", "JobHeldAdmin JobHeldUser JobHoldMaxRequeue BurstBufferOperation ReservationDeleted"),
    (Obstacle.HELD, "", "ReservationInvalid"),
    (Obstacle.LASTING, "it asks for more than the partition allows", "PartitionTimeLimit MaxMemPerLimit"),
    (Obstacle.LASTING, "it asks for more, or less, than your account or the QoS allows for one job", r"QOSMin\w+"),
    (Obstacle.LASTING, "it asks for more, or less, than your account or the QoS allows for one job",
     r"(Assoc|QOS)?Max\w+Per(Job|Node)(Limit)?"),
    (Obstacle.LASTING, "no node has what it asks for", "BadConstraints Constraints"),
    (Obstacle.LASTING, _NOBODY, "InvalidAccount InvalidQOS AccountNotAllowed QOSNotAllowed"),
    (Obstacle.LASTING, _NEVER, "DependencyNeverSatisfied"),
)  # fmt: skip
# Of jobs in the queue: sentences in place of a name.
_SENTENCES = (
    (Obstacle.PASSING, _DOWN, "Nodes required for job are DOWN, DRAINED or reserved"),
    (Obstacle.PASSING, _DOWN, "Reserved for maintenance"),
    (Obstacle.HELD, "", "launch failed requeued held"),
    (Obstacle.HELD, "", "job requeued in held state"),
)
# Of jobs that sbatch was to submit. `Job violates accounting/QOS policy` is not here: it stands for limits of both
# kinds, and the line above it may name which.
_REFUSALS = (
    (Obstacle.PASSING, "SLURM does not answer", (
        "Unable to contact slurm controller", "Socket timed out", "Zero Bytes were transmitted", "connect failure",
        "Communication connection failure", "Communication shutdown failure", "Message send failure",
        "Message receive failure", "Connection refused", "Connection timed out", "Transport endpoint",
        "Received zero length message", "Failed to send entire message", "Resource temporarily unavailable",
    )),
    (Obstacle.PASSING, "SLURM takes no jobs at present", (
        "try again", "temporarily unable to accept job", "Rate limit exceeded", "standby mode", "presently disabled",
        "submissions disabled", "MaxJobCount", "I/O error writing script", "Unable to connect to database",
        "Protocol authentication error", "authentication credential", "Slurm internal error", "is shutting down",
        "Error generating job credential", "Job can not start immediately", "scheduling attempts deferred",
    )),
    (Obstacle.PASSING, _PARTITION, ("Required partition not available", "Partition in DOWN state")),
    (Obstacle.PASSING, _DOWN, (
        "Required node not available", "Requested nodes are busy", "due to maintenance reservation",
        "reservation not usable now", "reservation is in use", "Requested partition configuration not available now",
    )),
    (Obstacle.PASSING, "something that is needed is used up at present", (
        "Licenses currently unavailable", "Waiting for burst buffer", "Max powered up nodes reached",
        "Switch resources currently not available",
    )),
    (Obstacle.PASSING, _LIMIT, ("breached requested QOS usage threshold",)),
    (Obstacle.LASTING, "there is no such partition", (
        "Invalid partition name", "invalid partition specified", "No partition specified or system default partition",
    )),
    (Obstacle.LASTING, _NOBODY, (
        "Invalid account", "Invalid qos", "Invalid wckey", "User's group not permitted", "Access/permission denied",
        "Invalid user id", "Access denied to requested reservation", "Requested reservation is invalid",
    )),
    (Obstacle.LASTING, "no node has what it asks for", (
        "Requested node configuration is not available", "Memory specification can not be satisfied",
        "Memory required by task is not available", "Invalid feature", "Invalid generic resource", "Invalid GRES",
        "Invalid node name", "Requested nodes not in this partition", "Invalid Trackable RESource",
        "Invalid license specification",
    )),
    (Obstacle.LASTING, "it asks for more than SLURM allows for one job", (
        "Requested time limit is invalid", "More processors requested than permitted",
        "Node count specification invalid",
        "CPU count specification invalid", "Task count specification invalid", "Invalid job array specification",
        "Pathname of a file, directory or other parameter too long",
    )),
)  # fmt: skip


def reason_of_waiting(reason: str) -> Reason:
    """Class and meaning of why a job waits, in the words of `squeue` (`%r`) or `scontrol`."""
    text = reason.strip().strip("()")
    name = re.split(r"[,:(\s]", text, maxsplit=1)[0]
    if (known := _named(name)) is not None:
        return known
    spaced = text.replace("_", " ").casefold()
    for obstacle, meaning, sentence in _SENTENCES:
        if sentence.casefold() in spaced:
            return Reason(obstacle, sentence, meaning)
    return Reason(Obstacle.TURN if not text else Obstacle.UNKNOWN, text, "")


def reason_of_refusal(message: str) -> Reason:
    """Class and meaning of why SLURM did not take a job, in the words of `sbatch`."""
    said = " ".join(message.split())
    for word in re.findall(r"\w+", said):
        known = _named(word)
        if known is not None and known.obstacle in (Obstacle.PASSING, Obstacle.LASTING):
            return Reason(known.obstacle, said, known.meaning)
    for obstacle, meaning, sentences in _REFUSALS:
        if any(sentence.casefold() in said.casefold() for sentence in sentences):
            return Reason(obstacle, said, meaning)
    return Reason(Obstacle.UNKNOWN, said, "")


def _named(name: str) -> Reason | None:
    for obstacle, meaning, names in _NAMES:
        if any(re.fullmatch(pattern, name) for pattern in names.split()):
            return Reason(obstacle, name, meaning)
    return None
