"""Every exception the framework raises on purpose.

    StudyError                  something failed; the message says what, with which values, where, and what to do
    ├── UserError               the user can mend it (exit code 2)
    │   ├── PlanError           a sweep file or an override is wrong; carries *all* problems of the file
    │   ├── ComponentError      a file that should define a component does not; carries all problems of that file
    │   ├── DataError           a dataset or published checkpoint is missing, truncated or not what it says it is
    │   ├── HomeError           the study home cannot be used (read-only, full, another study's)
    │   └── LeaseHeldError      another orchestrator works on this study
    ├── JournalError            a file of a run is damaged or has an unknown schema version
    ├── CheckpointError         a checkpoint is truncated, or its checksum disagrees
    ├── SealedSplitError        code of the tuning phase asked for the test split
    ├── CodeChangedError        a process would execute other code than the job says that it belongs to
    └── DivergedError           training left the finite numbers; an outcome of the run, not a fault of the machine

Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from reprlib import Repr
from textwrap import indent
from typing import Any


class StudyError(Exception):
    """Base class of everything raised on purpose."""


class UserError(StudyError):
    """The user can mend it; printed without a traceback, exit code 2."""


class DataError(UserError):
    """A dataset or a published checkpoint is missing, truncated or not what it says it is.

    Attributes:
        problems: all that is wrong, one text each.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__(listed(problems))


@contextmanager
def noting(problems: list[str]) -> Iterator[None]:
    """Add what is wrong with data to a list instead of raising it, so that all that is wrong is said at once."""
    try:
        yield
    except DataError as error:
        problems += error.problems


def raise_any(problems: Iterable[str]) -> None:
    """Raise DataError when there is a problem, each named once."""
    if found := tuple(dict.fromkeys(problems)):
        raise DataError(*found)


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


class CodeChangedError(StudyError):
    """A process would execute other code than its job asks for."""


class PrunedError(StudyError):
    """A trial was ended because others of its arm had been better at this point: an outcome, not a fault."""


class DivergedError(StudyError):
    """Training left the finite numbers: an outcome of the run."""


_MANY_NAMES, _FEW_NAMES = 60, 10
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


def listed(problems: Sequence[str]) -> str:
    """Problems as one message: one stands as it is, several are counted and get a line each."""
    if len(problems) == 1:
        return problems[0]
    lines = "".join("\n  - " + problem.replace("\n", "\n    ") for problem in problems)
    return f"{len(problems)} problems:{lines}"


class PlanError(UserError):
    """A sweep file or an override is wrong; `problems` lists everything that is."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count}\n{lines}")

    def __reduce__(self) -> tuple[type[PlanError], tuple[str, tuple[Problem, ...]]]:
        """How it comes from another process."""
        return type(self), (self.source, self.problems)


class ComponentError(UserError):
    """A file that should define a component cannot be imported, or defines something else.

    Attributes:
        file: relative to the checkout, e.g. `study/criteria/mine.py`.
        problems: everything that is wrong with it, by line where that is known.
    """

    def __init__(self, file: str, problems: Sequence[Problem], example: str = "") -> None:
        self.file, self.problems = file, tuple(problems)
        shape = f"\n  What is expected:\n{indent(example, '    ')}" if example else ""
        is_short = len(self.problems) == 1 and not example
        lines = f": {self.problems[0]}" if is_short else "".join(f"\n    {problem}" for problem in self.problems)
        super().__init__(f"{file} cannot be used{lines}{shape}")


def shown(value: Any) -> str:
    """`repr` of a value in a message: short, however long, deep or tangled the value is."""
    return _SHORT.repr(value)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Say what is known, the nearest name first, e.g. ` Did you mean 'x'? Known: a, b, x.`; of many, some."""
    names = sorted(map(str, known))
    near = get_close_matches(str(word), names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if len(names) <= _MANY_NAMES:
        return f"{hint} Known: {', '.join(names) or 'none'}."
    nearest = get_close_matches(str(word), names, n=_FEW_NAMES, cutoff=0.3) or names[:_FEW_NAMES]
    return f"{hint} Known: {', '.join(nearest)} and {len(names) - len(nearest)} more."


def counted(number: int, noun: str) -> str:
    """A number with its noun in a message: `1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
