"""Every exception the framework raises on purpose.

    StudyError                  something failed; the message says what, with which values, where, and what to do
    ├── UserError               the user can mend it (exit code 2)
    │   ├── PlanError           a sweep file or an override is wrong; carries *all* problems of the file
    │   ├── DataError           a dataset or published checkpoint is missing, truncated or not what it says it is
    │   ├── HomeError           the study home cannot be used (read-only, full, another study's)
    │   └── LeaseHeldError      another orchestrator works on this study
    ├── JournalError            a file of a run is damaged or has an unknown schema version
    ├── CheckpointError         a checkpoint is truncated, or its checksum disagrees
    ├── SealedSplitError        code of the tuning phase asked for the test split
    └── DivergedError           training left the finite numbers; an outcome of the run, not a fault of the machine

Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from reprlib import Repr
from typing import Any


class StudyError(Exception):
    """Base class of everything raised on purpose."""


class UserError(StudyError):
    """The user can mend it; printed without a traceback, exit code 2."""


class DataError(UserError):
    """A dataset or a published checkpoint is missing, truncated or not what it says it is."""


class HomeError(UserError):
    """The study home cannot be used."""


class LeaseHeldError(UserError):
    """Another orchestrator works on this study."""


class JournalError(StudyError):
    """A file of a run is damaged or has an unknown schema version."""


class CheckpointError(StudyError):
    """A checkpoint is truncated, or its checksum disagrees."""


class SealedSplitError(StudyError):
    """Code of the tuning phase asked for the test split."""


class PrunedError(StudyError):
    """A trial was ended because others of its arm had been better at this point: an outcome, not a fault."""


class DivergedError(StudyError):
    """Training left the finite numbers: an outcome of the run."""


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80
_SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict = 8, 8, 8


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a sweep file.

    Attributes:
        path: dotted path inside the file, e.g. `arms.e2mc.start.entropy_weight`.
        message: what is wrong, with the value and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PlanError(UserError):
    """A sweep file or an override is wrong; `problems` lists everything that is."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count}\n{lines}")


def shown(value: Any) -> str:
    """`repr` of a value in a message: short, however long, deep or tangled the value is."""
    return _SHORT.repr(value)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Say what is known, the nearest name first, e.g. ` Did you mean 'x'? Known: a, b, x.`."""
    names = sorted(map(str, known))
    near = get_close_matches(str(word), names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def counted(number: int, noun: str) -> str:
    """A number with its noun in a message: `1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
