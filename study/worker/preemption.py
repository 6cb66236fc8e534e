"""Reasons to stop between two steps: a signal, a stop file, or a newer attempt at the same run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from study.paths import AttemptPaths

if TYPE_CHECKING:
    import torch

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_EVERY_S = 1.0


class StopWatch:
    """Answers "must I stop?" cheaply enough to be asked after every step.

    Attributes:
        reason: why, once there is a reason.
    """

    def __init__(self, attempt: AttemptPaths) -> None:
        self.reason: str | None = None
        self._attempt = attempt
        self._next_look = 0.0

    def install(self) -> None:
        """Let the warning signals set a flag; call from the main thread."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def must_stop(self) -> bool:
        """Whether there is a reason; looks for files at most once a second."""
        now = time.monotonic()
        if self.reason is None and now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_S
            if self._attempt.run.stop.exists():
                self.reason = "stop file"
            elif self.is_superseded():
                self.reason = "newer attempt"
        return self.reason is not None

    def is_superseded(self) -> bool:
        """Whether a later attempt at the same run exists."""
        return self._attempt.run.attempt(self._attempt.number + 1).root.exists()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name


def stop_together(wants_to_stop: Callable[[], bool], device: torch.device) -> Callable[[], bool]:
    """Let all ranks of a distributed training stop after the same step, as soon as one of them has a reason.

    A signal reaches ranks at different times, and one that left alone would leave the others waiting in the next
    collective call.

    Args:
        wants_to_stop: whether this rank has a reason; every rank asks equally often.
        device: where the collective call finds its tensor.
    """
    import torch
    from torch import distributed

    def must_stop() -> bool:
        if not distributed.is_available() or not distributed.is_initialized():
            return wants_to_stop()
        flag = torch.tensor(int(wants_to_stop()), device=device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag)

    return must_stop
