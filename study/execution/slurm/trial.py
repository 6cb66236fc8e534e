"""SLURM's own opinion about a job, without submitting it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from study.execution.slurm.directives import directives
from study.plan.site import Resources

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Opinion:
    """What SLURM says now; a limit that running jobs exhaust is a refusal, too.

    Attributes:
        is_accepted: whether it would take the job.
        message: its own words: when and where the job would start, or why it is refused.
    """

    is_accepted: bool
    message: str


def opinion_on(resources: Resources) -> Opinion:
    """Ask `sbatch --test-only`, which knows rules that no other command shows, such as a site's submission plug-ins.

    It is silent about jobs that would wait for ever, such as those above a time limit that SLURM does not enforce.
    """
    # What a surrounding job has set would be taken for options.
    own = ("SLURM_", "SBATCH_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(own) or k == "SLURM_CONF"}
    options = [f"--{name}={value}" for name, value in directives(resources).items()]
    command = ["sbatch", "--test-only", *options, "--wrap=true"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, env={**environment, "LC_ALL": "C"}, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Opinion(is_accepted=False, message=str(error))
    words = re.sub(r"^(sbatch: )?(error: |allocation failure: )?(Job \d+ )?", "", result.stderr, flags=re.MULTILINE)
    return Opinion(result.returncode == 0, "; ".join(filter(None, map(str.strip, words.splitlines()))))
