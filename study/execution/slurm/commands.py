"""Asking SLURM. A scheduler that is silent says nothing about jobs, least of all that they are dead."""

from __future__ import annotations

import logging
import os
import subprocess
from collections import defaultdict
from collections.abc import Sequence

_LOG = logging.getLogger(__name__)
_USERS_TASTE = ("SACCT_", "SINFO_", "SQUEUE_")  # prefixes of variables that choose columns and hide jobs
_REASON_LENGTH = 300
_complaints: dict[str, set[str]] = defaultdict(set)


def ask(*command: str, timeout_s: float = 30.0, answers: Sequence[str] = ()) -> str | None:
    """What a command prints, or None when it is missing, fails or hangs; complains once per reason.

    Args:
        command: program and arguments.
        timeout_s: how long it may take.
        answers: parts of messages with which it fails but answers: that there is nothing to print.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_USERS_TASTE)}
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=timeout_s, env={**environment, "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C"}, check=False,
            start_new_session=True,  # Ctrl-C belongs to the orchestrator
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        _silent(command[0], f"nothing within {timeout_s:g} s")
        return None
    except OSError as error:
        _silent(command[0], str(error))
        return None
    if result.returncode != 0 and any(answer in result.stdout + result.stderr for answer in answers):
        return ""
    if result.returncode != 0:
        _silent(command[0], result.stderr.strip() or f"exit code {result.returncode}")
        return None
    _complaints[command[0]].clear()
    return result.stdout


def cancel(job_ids: Sequence[str]) -> bool:
    """Cancel jobs; those that are over already are no error. Says whether SLURM has obeyed."""
    return not job_ids or ask("scancel", *job_ids, answers=["Invalid job id"]) is not None


def _silent(program: str, reason: str) -> None:
    if reason not in _complaints[program]:
        _complaints[program].add(reason)
        _LOG.warning("%s does not answer: %s", program, " ".join(reason.split())[:_REASON_LENGTH])
