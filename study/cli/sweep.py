"""`python study/run_sweep.py SWEEP [key=value ...] [options]`."""

from __future__ import annotations

import argparse
import gc
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.apart import apart
from study.cli.common import (
    FINISHED,
    ROOT,
    SOME_FAILED,
    add_home,
    chosen_home,
    chosen_site,
    complain_of_losses,
    guarded,
)
from study.errors import JournalError, UserError, did_you_mean
from study.journal.files import read_json_or_none
from study.orchestration.finished import code_seen, recall
from study.paths import HomePaths, from_user

if TYPE_CHECKING:
    from rich.console import Console

    from study.orchestration.readiness import Readiness, Start
    from study.plan.model import Plan


def run_sweep(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the study, or carry on with it."""
    parser = argparse.ArgumentParser(
        prog="run_sweep.py",
        description="Run the study of a sweep file, or carry on with it: only what is missing is done.",
        epilog="Exit codes: 0 finished, 2 your mistake, 3 finished but some runs failed or an arm came to nothing, "
        "130 interrupted.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="sweep file, e.g. sweeps/ablation.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="e.g. 'confirm.base_seeds=[1,2,3]'")
    add_home(parser)
    parser.add_argument("--site", metavar="FILE", help="where to run (default: $STUDY_SITE, slurm/site.yaml, here)")
    parser.add_argument("--slots", metavar="N", type=_positive, help="runs at once (default: one per GPU, or core)")
    parser.add_argument(
        "--dry-run", action="store_true", help="check what a start checks, show runs and time; start nothing"
    )
    parser.add_argument(
        "--images-per-second",
        metavar="N",
        type=_above_zero,
        help="with --dry-run: speed of training, instead of timing it here",
    )
    parser.add_argument(
        "--freeze",
        metavar="FOLDER",
        help="write each study's file with every arm and field spelled out into FOLDER; do nothing else",
    )
    parser.add_argument("--fresh", action="store_true", help="train anew what another study of the home has trained")
    parser.add_argument(
        "--max-hours", metavar="H", type=_above_zero, help="stop, saved, after so many hours of all slots"
    )
    parser.add_argument("--take-over", action="store_true", help="take the lease from an orchestrator on a dead host")
    parser.add_argument("--accept-code-change", action="store_true", help="go on although the code has changed")
    args = parser.parse_intermixed_args(argv)
    if wrong := _without_use(args):
        parser.error(wrong)
    gc.disable()  # until all that is known has been read: looking for garbage among it takes as long
    try:
        return guarded(lambda: _run(args), lambda: chosen_home(args))
    finally:
        apart.end()
        gc.enable()


_OF_A_START = ("--max-hours", "--take-over")
_OF_RUNS = (*_OF_A_START, "--fresh", "--slots", "--site", "--accept-code-change", "--images-per-second")


def _without_use(args: argparse.Namespace) -> str | None:
    """Say which option has no use beside another one; nothing that is given is passed over in silence."""
    given = {f"--{name.replace('_', '-')}" for name, value in vars(args).items() if value not in (None, False)}
    if args.dry_run and args.freeze is not None:
        return "--dry-run and --freeze do different things; give one of them"
    if args.images_per_second is not None and not args.dry_run:
        return "--images-per-second belongs to --dry-run: a start uses the speed that it sees"
    for is_chosen, mode, others in ((args.dry_run, "--dry-run", _OF_A_START), (args.freeze, "--freeze", _OF_RUNS)):
        if is_chosen and (useless := [flag for flag in others if flag in given]):
            return f"{' and '.join(useless)} would change nothing with {mode}, which starts no run; leave it out"
    return None


def _run(args: argparse.Namespace) -> int:
    path = _find_sweep(args.sweep)
    text = _read_sweep(path)
    home, seen = chosen_home(args), code_seen()
    words = None if args.dry_run or args.freeze is not None else recall(home, text, args.overrides, seen)
    if words is not None:
        print("\n\n".join(record["summary"] for record in words))
        for line in without_effect(args):
            print(line)
        return complain_of_losses([arm for record in words for arm in record.get("lost", ())])
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    site, site_file = chosen_site(args)
    if site_file is None and not args.dry_run and _slurm_answers():
        console.print(
            "SLURM answers here, but no site is chosen: runs go to this machine. Choose one with --site FILE, or write"
            " one: python -m study site init"
        )
    with _doing(console, f"Reading {args.sweep}"):
        load = partial(_load_plans, text, args.sweep, tuple(args.overrides), home)
        if args.dry_run or args.freeze is not None:
            plans = load()
        else:
            loading = apart.begin(load)
            import_module("study.cli.orchestrate")  # what comes next, meanwhile

            plans = loading()
    if args.freeze is not None:
        for path in _freeze(plans, from_user(args.freeze)):
            print(path)
        return FINISHED
    timing = "" if args.dry_run else ", timing a few training steps"
    with _doing(console, f"Checking images, checkpoint, site and disk{timing}"):
        from study.orchestration.readiness import Start

        start = Start(
            plans, home, site, site_file, args.slots,
            is_rehearsal=args.dry_run, reuse=not args.fresh, accepts_other_code=args.accept_code_change,
        )  # fmt: skip
        ready = _check(start) if args.dry_run else apart(partial(_check, start))
    if args.dry_run:
        from study.cli.dry_run import describe_all

        with _doing(console, "Timing a few training steps"):
            description = describe_all(ready, home, args.images_per_second)
        print(description, flush=True)
        ready.require()
        return FINISHED
    ready.require()
    apart.end()
    for warning in ready.warnings:
        console.print(f"Warning: {warning}")
    from study.cli.orchestrate import orchestrate

    worst = FINISHED
    for block, one in enumerate(ready.studies):
        origin = {"text": text, "given": list(args.overrides), "code": seen, "block": block, "num_blocks": len(plans)}
        code = orchestrate(one, origin, home, site, console, args)
        if code not in (FINISHED, SOME_FAILED):
            return code
        worst = max(worst, code)
    return worst


def _load_plans(text: str, source: str, overrides: Sequence[str], home: HomePaths) -> Sequence[Plan]:
    from study.plan.load import load_plans

    return load_plans(text, source, overrides, partial(_names_in_use, home))


def _check(start: Start) -> Readiness:
    from study.orchestration.readiness import check_start

    readiness = check_start(start)
    if start.is_rehearsal or readiness.problems:
        return readiness
    return replace(readiness, studies=tuple(study.timed() for study in readiness.studies))


def _names_in_use(home: HomePaths, study: str) -> set[str]:
    """Names of a study that was begun before they were judged."""
    from study.plan.names import names_in

    try:
        return names_in(read_json_or_none(home.study(study).plan))
    except (OSError, JournalError):
        return set()  # the way to the study's folder says what is wrong with it


def _freeze(plans: Sequence[Plan], folder: Path) -> list[Path]:
    """Write a sweep file per plan that leaves nothing open; a file that is there stays."""
    from study.plan.freeze import frozen

    paths = [folder / f"{plan.study}.yaml" for plan in plans]
    if there := [str(path) for path in paths if _exists(path)]:
        raise UserError(f"{', '.join(there)}: there already; move it away, or freeze into another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, plan in zip(paths, plans, strict=True):
            path.write_text(frozen(plan), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another folder") from None
    return paths


def _find_sweep(given: str) -> Path:
    """A path as given, or relative to the checkout, so that the command works from any directory."""
    for path in (from_user(given), ROOT / given):
        if _exists(path):
            if path.is_dir():
                inside = [file.name for file in sorted(path.glob("*.yaml"))]
                raise UserError(
                    f"{given} is a folder, not a sweep file. Sweep files in it: {', '.join(inside) or 'none'}"
                )
            return path
    if "=" in given:
        raise UserError(f"{given!r} stands where the sweep file should: run_sweep.py SWEEP [key=value ...]")
    known = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "sweeps").glob("*.yaml"))]
    raise UserError(f"no sweep file {given!r} in {Path.cwd()}.{did_you_mean(given, known)}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _read_sweep(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a sweep file: it is not UTF-8 text ({error})") from None
    except OSError as error:
        raise UserError(f"cannot read the sweep file {path}: {error.strerror}") from None


def without_effect(args: argparse.Namespace) -> Iterator[str]:
    """Say which of the given options change nothing because every run is there."""
    if args.fresh:
        yield "--fresh changed nothing: every run is there. To train runs anew: python -m study redo STUDY RUN|ARM"
    for given, flag in (
        (args.accept_code_change, "--accept-code-change"), (args.take_over, "--take-over"), (args.slots, "--slots"),
        (args.max_hours, "--max-hours"), (args.site, "--site"),
    ):  # fmt: skip
        if given:
            yield f"{flag} changed nothing: the study is finished, and nothing has changed since."


def _slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=5, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _doing(console: Console, text: str) -> AbstractContextManager[object]:
    """A spinner on a terminal, a line elsewhere."""
    if console.is_terminal:
        return console.status(text)
    print(text, flush=True)
    return nullcontext()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, but got {text!r}")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, but got {text!r}")
    return number
