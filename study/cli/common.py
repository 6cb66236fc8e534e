"""What all commands share: exit codes, the study home, and errors that a user can mend."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError
from study.paths import HomePaths, from_user

if TYPE_CHECKING:
    from study.plan.site import Site

ROOT = Path(__file__).parents[2]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
FINISHED, MISTAKE, SOME_FAILED, INTERRUPTED = 0, 2, 3, 130


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add `--home`."""
    parser.add_argument("--home", metavar="DIR", help="where studies live (default: $STUDY_HOME, the site, ./studies)")


def chosen_home(args: argparse.Namespace) -> HomePaths:
    """The study home that the arguments, the environment and the site choose.

    Raises:
        UserError: it depends on the site, whose file is wrong.
    """
    given = args.home or os.environ.get("STUDY_HOME")
    return HomePaths(from_user(given or _home_of_site(args) or "studies").absolute())


def chosen_site(args: argparse.Namespace) -> tuple[Site, Path | None]:
    """The site, and the file that says so; None when nobody chose any.

    Raises:
        UserError: the file cannot be read, or is wrong.
    """
    from study.plan.site import load_site

    path, chosen_by = _site_file(args)
    return load_site(path, chosen_by), path


def site_file(args: argparse.Namespace) -> Path | None:
    """The site file that the arguments, the environment or the checkout choose; None: nobody chose any."""
    return _site_file(args)[0]


def _site_file(args: argparse.Namespace) -> tuple[Path | None, str]:
    for chosen, chosen_by in ((getattr(args, "site", None), "--site"), (os.environ.get("STUDY_SITE"), "$STUDY_SITE")):
        if chosen:
            return from_user(chosen), chosen_by
    default = ROOT / "slurm" / "site.yaml"
    return default if default.exists() else None, "git-ignored slurm/site.yaml"


def _home_of_site(args: argparse.Namespace) -> str | None:
    return None if _site_file(args)[0] is None else chosen_site(args)[0].home


def guarded(run: Callable[[], int], home: Callable[[], HomePaths | None]) -> int:
    """Turn what a user can mend into one message; everything else keeps its traceback.

    Args:
        run: what may fail.
        home: the study home, for advice; None where none is used.
    """
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
        trouble = _trouble(error, home())
        if trouble is None:
            raise
        return _complain(trouble)


def _trouble(error: OSError, home: HomePaths | None) -> str | None:
    """What the file system refuses and what to do about it; None when the fault is ours."""
    root = home.root if home is not None else Path()
    file = error.filename or root
    if error.errno in _FULL:
        return (
            f"no space left for {file} ({error.strerror}). Make room and start the same command again: nothing is lost"
        )
    if error.errno not in _REFUSED:
        return None
    advice = (
        "Choose another home with --home DIR" if home and Path(file).is_relative_to(root) else "Check its permissions"
    )
    return f"cannot use {file}: {error.strerror}. {advice}"


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return MISTAKE
