"""Whether jobs of one kind may be submitted now. No answer of SLURM's lets this program submit without bound."""

from __future__ import annotations

import time
from collections.abc import Callable

from study.execution.slurm.pauses import Pauses
from study.execution.slurm.reasons import Obstacle, Reason

PERSISTS_S = 300.0  # what lasts for so long is believed to last
_PERSISTS_TIMES = 3  # and is seen so often
_REFUSED_S, _REFUSED_MOST_S = 2.0, 300.0
_FRUITLESS_S, _FRUITLESS_MOST_S = 5.0, 600.0
FRUITFUL_S = 60.0  # a job that ends sooner, and has brought nothing to its end, has done nothing


class Persistence:
    """Whether something that would end a study has been so for a while.

    A controller may start without its accounts, and what an administrator has broken is mended.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._times = 0

    def see(self, *, holds: bool) -> None:
        """Note one observation."""
        if not holds:
            self._since, self._times = None, 0
            return
        self._since = self._clock() if self._since is None else self._since
        self._times += 1

    @property
    def has_lasted(self) -> bool:
        """Whether it has held at several observations over some minutes, the newest one included."""
        long = self._since is not None and self._clock() - self._since >= PERSISTS_S
        return long and self._times >= _PERSISTS_TIMES


class Gate:
    """Opens when the pause is over that the last refusal has brought, or jobs that ended before they did anything.

    Attributes:
        refusal: why SLURM takes none of these jobs; None: it does, as far as is known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._refusals = Pauses(_REFUSED_S, _REFUSED_MOST_S, clock)
        self._fruitless = Pauses(_FRUITLESS_S, _FRUITLESS_MOST_S, clock)
        self._persistence = Persistence(clock)
        self._num_fruitless = 0
        self.refusal: Reason | None = None

    @property
    def is_open(self) -> bool:
        """Whether a job may be submitted now."""
        return self._refusals.is_over and self._fruitless.is_over

    @property
    def is_hopeless(self) -> bool:
        """Whether SLURM has refused for so long, for a reason that lasts, that what waits is to be given up."""
        return self._persistence.has_lasted

    def refuse(self, reason: Reason, *, counts: bool) -> None:
        """SLURM has not taken a job; `counts`: the refusal is of the job as the site file describes it."""
        self.refusal = reason
        self._refusals.begin()
        self._persistence.see(holds=counts and reason.obstacle is Obstacle.LASTING)

    def accept(self) -> None:
        """SLURM has taken a job."""
        self.refusal = None
        self._refusals.forget()
        self._persistence.see(holds=False)

    def make_room(self) -> None:
        """A job of the study has left SLURM: perhaps it takes another one now."""
        self._refusals.cut_short()

    def end(self, *, was_fruitful: bool) -> None:
        """A job has ended; the first that did nothing is replaced at once, others after ever longer pauses."""
        if was_fruitful:
            self._fruitless.forget()
            self._num_fruitless = 0
            return
        self._num_fruitless += 1
        if self._num_fruitless > 1:
            self._fruitless.begin()
