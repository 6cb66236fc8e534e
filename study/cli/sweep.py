"""`python study/run_sweep.py SWEEP [key=value ...] [options]`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.common import FINISHED, INTERRUPTED, ROOT, SOME_FAILED, add_home, chosen_home, guarded
from study.errors import UserError, did_you_mean
from study.journal.files import read_json_or_none, write_json
from study.paths import HomePaths

if TYPE_CHECKING:
    from study.execution.base import Executor
    from study.orchestration.progress import Progress
    from study.plan.model import Plan
    from study.plan.site import Site

_PUBLISHER_PATIENCE_S = 60.0


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
    parser.add_argument("--site", metavar="FILE", help="where to run (default: $STUDY_SITE, slurm/site.yaml, this machine)")
    parser.add_argument("--slots", metavar="N", type=_positive, help="runs at once (default: one per GPU, else per core)")
    parser.add_argument("--dry-run", action="store_true", help="show arms, runs and expected time; do nothing")
    parser.add_argument("--take-over", action="store_true", help="take the lease from an orchestrator on a dead host")
    parser.add_argument("--accept-code-change", action="store_true", help="go on although the code has changed")
    args = parser.parse_intermixed_args(argv)
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from rich.console import Console

    path = _find_sweep(args.sweep)
    text, source = _read_sweep(path), args.sweep
    home = chosen_home(args)
    before = None if args.dry_run else _finished_before(home, text, args.overrides)
    if before is not None:
        print(before)
        return FINISHED
    console = Console(highlight=False, soft_wrap=True)
    with console.status(f"Reading {source}") if console.is_terminal else _plain(console, f"Reading {source}"):
        from study.plan.load import load_plan

        plan = load_plan(text, source, args.overrides)
    if args.dry_run:
        from study.cli.dry_run import describe

        console.print(describe(plan, home))
        return FINISHED
    site, hint = _site(args)
    if hint:
        console.print(hint)
    return _orchestrate(args, plan, text, home, site, console)


def _orchestrate(args: argparse.Namespace, plan: Plan, text: str, home: HomePaths, site: Site, console: object) -> int:
    from rich.console import Console

    from study.execution.inline import InlineExecutor
    from study.execution.local import LocalExecutor
    from study.orchestration import actions
    from study.orchestration.board import Board
    from study.orchestration.data import locate_data
    from study.orchestration.decide import known_specs
    from study.orchestration.forecast import forecast
    from study.orchestration.lease import Lease
    from study.orchestration.orchestrator import Orchestrator, Settings
    from study.plan.model import Phase

    assert isinstance(console, Console)
    study = home.study(plan.study)
    study.root.mkdir(parents=True, exist_ok=True)
    lease = Lease.acquire(study.lease, take_over=args.take_over)
    try:
        if lease.replaced:
            console.print(f"Took over from {_who(lease.replaced)}")
        actions.store_plan(study, plan, text)
        study.finished.unlink(missing_ok=True)
        study.stop.unlink(missing_ok=True)
        trials = {arm.name: actions.read_trials(study, arm.name) for arm in plan.arms if arm.is_tuned}
        paths = [
            home.base(spec.run_id) if phase is Phase.PREPARE else study.run(spec.run_id)
            for spec, phase in known_specs(plan, trials)
        ]
        warning = actions.check_code(home, paths, accept_change=args.accept_code_change)
        if warning:
            console.print(f"Warning: {warning}")
        folder = locate_data(plan, home)
        slots = args.slots or site.slots
        executor: Executor = LocalExecutor(slots) if site.executor == "local" else InlineExecutor()
        console.print(f"{plan.study}: {len(plan.arms)} arms, {executor.slots} runs at once, home {home.root}")
        settings = Settings(folder, site.checkpoint_every_s)
        with Board(console, executor.slots) as board, _publisher(home, plan.study) as publisher:
            board.say("Starting workers and timing a few training steps")
            board.expect(forecast(plan))
            orchestrator = Orchestrator(plan, home, executor, lease, settings, board.show)
            try:
                progress = orchestrator.run()
            except KeyboardInterrupt:
                board.say("Stopping: what runs saves a checkpoint and leaves (Ctrl-C again: leave it running)")
                progress = orchestrator.stop()
                return _interrupted(args, console, progress)
            finally:
                executor.close()
            if study.stop.exists():
                study.stop.unlink()
                return _interrupted(args, console, progress)
            board.say("Writing tables and figures")
            summary = _summary(home, plan.study)
            board.say("Publishing to MLflow")
            arrived = _finish(publisher)
        return _conclude(args, plan, text, home, progress, summary, arrived, console)
    finally:
        lease.release()


def _conclude(
    args: argparse.Namespace, plan: Plan, text: str, home: HomePaths, progress: Progress, summary: str,
    arrived: bool, console: object,
) -> int:  # fmt: skip
    from study.orchestration.snapshot import RunStatus

    study = home.study(plan.study)
    failed = progress.count(RunStatus.FAILED)
    if not arrived:
        summary += f"\nMLflow could not be reached; when it is back: python -m study publish {plan.study}{_home_option(args)}"
    print(summary)
    if failed:
        for run_id, (_, _, view) in progress.runs.items():
            if view.status is RunStatus.FAILED:
                print(f"failed: {run_id}: {view.failure}", file=sys.stderr)
        print(f"{failed} runs failed; see the logs in {study.runs}/<run>/attempts. The same command tries them again.")
        return SOME_FAILED
    write_json(study.finished, {"text": text, "overrides": list(args.overrides), "summary": summary, "t": time.time()})
    return FINISHED


def _summary(home: HomePaths, name: str) -> str:
    """The comparison, and what to do next."""
    from analysis.report import write_report
    from study.tracking.store import store_uri

    study = home.study(name)
    text = write_report(study.root).text
    ui = ["mlflow", "server", "--backend-store-uri", store_uri(home), "--host", "127.0.0.1", "--port", "5000", "--workers", "1"]
    notebook = ["jupyter", "execute", "--output", str(study.report / "01_main_results.ipynb"), "analysis/01_main_results.ipynb"]
    return (
        f"{text}\n\nTables, figures and every run's number: {study.report}\n"
        f"Browse the runs:    {shlex.join(ui)}\n"
        f"Redraw the figures: STUDY_DIR={shlex.quote(str(study.root))} {shlex.join(notebook)}"
    )


def _interrupted(args: argparse.Namespace, console: object, progress: Progress) -> int:
    from study.orchestration.snapshot import RunStatus

    active = progress.count(RunStatus.ACTIVE)
    still = f" {active} runs still go on; they will be adopted." if active else ""
    command = shlex.join(["python", "study/run_sweep.py", *sys.argv[1:]])
    print(f"Stopped; nothing is lost.{still} To carry on: {command}")
    return INTERRUPTED


@contextmanager
def _publisher(home: HomePaths, study: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that copies journals into MLflow meanwhile; it ends when its standard input closes, even if we are killed."""
    command = [sys.executable, "-m", "study", "publish", study, "--home", str(home.root), "--follow"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (home.study(study).root / "publisher.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()


def _finish(publisher: subprocess.Popen[bytes]) -> bool:
    """Let the publisher make its last pass; whether everything has arrived."""
    assert publisher.stdin is not None
    publisher.stdin.close()
    try:
        return publisher.wait(timeout=_PUBLISHER_PATIENCE_S) == 0
    except subprocess.TimeoutExpired:
        return False


def _site(args: argparse.Namespace) -> tuple[Site, str | None]:
    """The chosen site, and a hint when there is a cluster that nobody chose."""
    from study.plan.site import load_site

    default = ROOT / "slurm" / "site.yaml"
    chosen = args.site or os.environ.get("STUDY_SITE") or (str(default) if default.exists() else None)
    site = load_site(Path(chosen) if chosen else None)
    if chosen is None and _slurm_answers():
        return site, "SLURM answers here, but no site is chosen: runs go to this machine. Choose one with --site FILE"
    return site, None


def _slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=5, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _finished_before(home: HomePaths, text: str, overrides: Sequence[str]) -> str | None:
    """The stored last words of a study that this very text and these overrides have finished."""
    for file in sorted(home.root.glob("*/finished.json")):
        record = read_json_or_none(file) or {}
        if record.get("text") == text and record.get("overrides") == list(overrides):
            return str(record["summary"])
    return None


def _find_sweep(given: str) -> Path:
    """A path as given, or relative to the checkout, so that the command works from any directory."""
    for path in (Path(given), ROOT / given):
        if path.is_file():
            return path
    known = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "sweeps").glob("*.yaml"))]
    raise UserError(f"no sweep file {given!r}.{did_you_mean(given, known)}")


def _read_sweep(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


@contextmanager
def _plain(console: object, text: str) -> Iterator[None]:
    print(text, flush=True)
    yield


def _home_option(args: argparse.Namespace) -> str:
    return f" --home {shlex.quote(args.home)}" if args.home else ""


def _who(holder: object) -> str:
    from study.orchestration.lease import describe

    assert isinstance(holder, dict)
    return describe(holder)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, but got {text!r}")
    return int(text)
