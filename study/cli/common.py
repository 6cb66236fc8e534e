"""What all commands share: exit codes, the study home, and errors that a user can mend."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from study.errors import StudyError
from study.paths import HomePaths, from_user

ROOT = Path(__file__).parents[2]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
FINISHED, MISTAKE, SOME_FAILED, INTERRUPTED = 0, 2, 3, 130


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument("--home", metavar="DIR", help="where studies live (default: $STUDY_HOME, then ./studies)")


def chosen_home(args: argparse.Namespace) -> HomePaths:
    """The study home that the arguments and the environment choose."""
    return HomePaths(from_user(args.home or os.environ.get("STUDY_HOME") or "studies").absolute())


def guarded(run: Callable[[], int], home: HomePaths) -> int:
    """Turn what a user can mend into one message; everything else keeps its traceback."""
    try:
        return run()
    except StudyError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED
    except OSError as error:
        trouble = _trouble(error, home)
        if trouble is None:
            raise
        return _complain(trouble)


def _trouble(error: OSError, home: HomePaths) -> str | None:
    """What the file system refuses and what to do about it; None when the fault is ours."""
    file = error.filename or home.root
    if error.errno in _FULL:
        return (
            f"no space left for {file} ({error.strerror}). Make room and start the same command again: nothing is lost"
        )
    if error.errno not in _REFUSED:
        return None
    advice = "Choose another home with --home DIR" if Path(file).is_relative_to(home.root) else "Check its permissions"
    return f"cannot use {file}: {error.strerror}. {advice}"


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return MISTAKE
