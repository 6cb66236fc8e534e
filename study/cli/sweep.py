"""`python study/run_sweep.py SWEEP [key=value ...] [options]`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.common import FINISHED, ROOT, SOME_FAILED, add_home, chosen_home, chosen_site, guarded
from study.errors import JournalError, UserError, did_you_mean
from study.journal.files import read_json_or_none
from study.paths import HomePaths, from_user

if TYPE_CHECKING:
    from rich.console import Console

    from study.plan.model import Plan


def run_sweep(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the study, or carry on with it."""
    parser = argparse.ArgumentParser(
        prog="run_sweep.py",
        description="Run the study of a sweep file, or carry on with it: only what is missing is done.",
        epilog="Exit codes: 0 finished, 2 your mistake, 3 finished but some runs failed, 130 interrupted.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="sweep file, e.g. sweeps/ablation.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="e.g. 'confirm.base_seeds=[1,2,3]'")
    add_home(parser)
    parser.add_argument("--site", metavar="FILE", help="where to run (default: $STUDY_SITE, slurm/site.yaml, here)")
    parser.add_argument("--slots", metavar="N", type=_positive, help="runs at once (default: one per GPU, or core)")
    parser.add_argument("--dry-run", action="store_true", help="show arms, runs and expected time; do nothing")
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
    return guarded(lambda: _run(args), lambda: chosen_home(args))


def _run(args: argparse.Namespace) -> int:
    path = _find_sweep(args.sweep)
    text = _read_sweep(path)
    home = chosen_home(args)
    summary = None if args.dry_run or args.freeze is not None else _finished_before(home, text, args.overrides)
    if summary is not None:
        print(summary)
        return FINISHED
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    site, site_file = chosen_site(args)
    if site_file is None and not args.dry_run and _slurm_answers():
        console.print(
            "SLURM answers here, but no site is chosen: runs go to this machine. Choose one with --site FILE, or write"
            " one: python -m study site init"
        )
    with _doing(console, f"Reading {args.sweep}"):
        from study.plan.load import load_plans

        plans = load_plans(text, args.sweep, args.overrides)
    if args.freeze is not None:
        for path in _freeze(plans, from_user(args.freeze)):
            print(path)
        return FINISHED
    if args.dry_run:
        from study.cli.dry_run import describe

        with _doing(console, "Timing a few training steps"):
            descriptions = [describe(plan, home, args.images_per_second) for plan in plans]
        print("\n\n".join(descriptions))
        return FINISHED
    if site_file is not None and site.slurm is not None:
        with _doing(console, f"Asking SLURM whether it takes the jobs of {site_file}"):
            from study.execution.slurm.validation import require_valid

            require_valid(site, site_file, home.root)
    from study.cli.orchestrate import orchestrate

    worst = FINISHED
    for block, plan in enumerate(plans):
        origin = {"text": text, "given": list(args.overrides), "block": block, "num_blocks": len(plans)}
        code = orchestrate(plan, origin, home, site, console, args)
        if code not in (FINISHED, SOME_FAILED):
            return code
        worst = max(worst, code)
    return worst


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


def _finished_before(home: HomePaths, text: str, overrides: Sequence[str]) -> str | None:
    """The stored last words of the studies that this very text and these overrides have finished."""
    records = []
    for file in sorted(home.root.glob("*/finished.json")):
        try:
            record = read_json_or_none(file) or {}
        except JournalError:
            continue  # the long way finds out what is done, and writes the file anew
        if (record.get("text"), record.get("given")) == (text, list(overrides)):
            records.append(record)
    if not records or len(records) < records[0]["num_blocks"]:
        return None
    return "\n\n".join(record["summary"] for record in sorted(records, key=lambda record: record["block"]))


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
