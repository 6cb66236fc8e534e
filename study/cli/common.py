"""What all commands share: exit codes, the study home, and errors that a user can mend."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study import registry
from study.errors import StudyError
from study.journal.trouble import describe_trouble
from study.orchestration.typed import same_command
from study.paths import HomePaths, from_user

if TYPE_CHECKING:
    from study.plan.site import Site

ROOT = Path(__file__).parents[2]
_TRACEBACK = "STUDY_TRACEBACK"
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
    """Turn what a user can mend into one message, mistakes in components too; everything else keeps its traceback.

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
    except Exception as error:
        trouble = _trouble(error, home()) if isinstance(error, OSError) else None
        trouble = trouble or fault_of_component(error)
        if trouble is None:
            raise
        return _complain(trouble)


def fault_of_component(error: Exception) -> str | None:
    """Where in a component's file an error came up, and what it is; None: elsewhere, or its traceback is wanted."""
    place = registry.place_of(error)
    if not place or os.environ.get(_TRACEBACK):
        return None
    return f"{place}: {registry.told(error)} ({_TRACEBACK}=1 shows how it got there)"


def complain_of_losses(arms: Sequence[str]) -> int:
    """Say which arms came to nothing; the exit code says so as well, at every start."""
    if arms:
        print(f"no result: {', '.join(arms)}; see above what became of them, and what to type.", file=sys.stderr)
    return SOME_FAILED if arms else FINISHED


def _trouble(error: OSError, home: HomePaths | None) -> str | None:
    """What the file system refuses and what to do about it; None when the fault is ours."""
    root = home.root if home is not None else Path()
    said = describe_trouble(error, root)
    if said is None and error.errno == errno.ENOTDIR and error.filename is not None:
        said = f"cannot use {error.filename}: a part of its path is no folder. Move that away"
    if said is None:
        return None
    if home is not None and not _holds_studies(home) and Path(str(error.filename or root)).is_relative_to(root):
        return f"{said}, or name another home with --home DIR"
    return f"{said} and start the same command again, nothing is lost: {same_command()}"


def _holds_studies(home: HomePaths) -> bool:
    """Whether another home would be the loss of a study; also when the file system does not say."""
    try:
        return any(home.root.glob("*/plan.json"))
    except OSError:
        return True


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return MISTAKE
