"""Which training steps a journal keeps, so that long runs leave journals of the size of short ones."""

from __future__ import annotations

import math

KEPT_WHOLE = 2_000  # steps up to which a run's journal has all of them: about 2 MB, at 20 metrics
_ABOUT = 1_000  # steps that are kept of longer runs


def usual_interval(num_steps: int) -> int:
    """Steps from one that is kept to the next; a function of the run's length alone, so that arms are kept alike."""
    return 1 if num_steps <= KEPT_WHOLE else math.ceil(num_steps / _ABOUT)


def is_kept(step: int, num_steps: int, steps_per_epoch: int, every: int | None = None) -> bool:
    """Whether a step is written down: every so many, and in any case the first one and the last of each epoch.

    Args:
        step: from 1.
        num_steps: of the whole run.
        steps_per_epoch: of an epoch.
        every: the interval; None: `usual_interval`.
    """
    interval = usual_interval(num_steps) if every is None else every
    return step == 1 or step % interval == 0 or step % steps_per_epoch == 0
