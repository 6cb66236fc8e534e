"""What all commands share: exit codes, the study home, and errors that a user can mend."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from study.errors import StudyError
from study.paths import HomePaths

ROOT = Path(__file__).parents[2]
FINISHED, MISTAKE, SOME_FAILED, INTERRUPTED = 0, 2, 3, 130


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument("--home", metavar="DIR", help="where studies live (default: $STUDY_HOME, then ./studies)")


def chosen_home(args: argparse.Namespace) -> HomePaths:
    """The study home that the arguments and the environment choose."""
    return HomePaths(Path(args.home or os.environ.get("STUDY_HOME") or "studies").absolute())


def guarded(run: Callable[[], int]) -> int:
    """Turn what a user can mend into one message; everything else keeps its traceback."""
    try:
        return run()
    except StudyError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("Interrupted; nothing is lost. The same command carries on.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" at {error.filename}" if error.filename else ""
            return _complain(f"no space left{where}. Make room and start the same command again: nothing is lost")
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            return _complain(f"cannot write {error.filename}: {error.strerror}. Choose another --home")
        raise


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return MISTAKE
