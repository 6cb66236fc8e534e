"""Put an orchestrator together, run it, and have the last word."""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cli.common import FINISHED, INTERRUPTED, ROOT, SOME_FAILED, complain_of_losses, site_file
from study.errors import HomeError, LeaseHeldError, counted
from study.execution.base import Executor
from study.execution.inline import InlineExecutor
from study.execution.local import LocalExecutor
from study.journal.files import write_json
from study.journal.trouble import describe_trouble
from study.orchestration import actions
from study.orchestration.aside import finish_moves
from study.orchestration.board import Board
from study.orchestration.code import snapshot_code
from study.orchestration.finished import remember
from study.orchestration.forecast import forecast
from study.orchestration.lease import Lease, describe
from study.orchestration.orchestrator import Orchestrator, Settings
from study.orchestration.outcomes import fruitless_arms
from study.orchestration.progress import Progress
from study.orchestration.provenance import check_code, wanted
from study.orchestration.readiness import Ready
from study.orchestration.snapshot import RunStatus
from study.orchestration.typed import manage, record_of_command, same_command
from study.paths import HomePaths, StudyPaths
from study.plan.fruitless import without_result
from study.plan.model import Plan
from study.plan.site import SLURM_SLOTS, Site
from study.tracking.process import PublisherProcess
from study.tracking.progress import kept_apart
from study.tracking.store import store_uri, without_password

if TYPE_CHECKING:
    from rich.console import Console

_PUBLISHER_PATIENCE_S = 90.0


def orchestrate(
    ready: Ready, origin: Mapping[str, Any], home: HomePaths, site: Site, console: Console, args: argparse.Namespace
) -> int:
    """Run the study under its lease; returns the exit code.

    Args:
        ready: the study, checked.
        origin: `text` of the sweep file, and what else recognises the command once the study is finished.
        home: where the study lives.
        site: where its runs execute.
        console: where progress is shown.
        args: options of the command line.
    """
    study = home.study(ready.plan.study)
    _make_folder(study, home)
    lease = Lease.acquire(study.lease, take_over=args.take_over)
    try:
        with lease.kept():
            code = _orchestrate(ready, origin, home, site, console, args, lease)
    except LeaseHeldError:
        raise  # what there is belongs to a successor: nothing may be closed or removed
    except BaseException:
        _give_back(study, lease)
        raise
    _give_back(study, lease)
    return code


def _give_back(study: StudyPaths, lease: Lease) -> None:
    study.stop.unlink(missing_ok=True)
    lease.release()


def _orchestrate(
    ready: Ready, origin: Mapping[str, Any], home: HomePaths, site: Site, console: Console, args: argparse.Namespace,
    lease: Lease,
) -> int:  # fmt: skip
    plan, data = ready.plan, ready.data
    assert data is not None, "what is not ready is not started"
    study = home.study(plan.study)
    if lease.replaced:
        console.print(f"The lease was left by {describe(lease.replaced)}; carrying on.")
    elif args.take_over:
        console.print("--take-over changed nothing: the study has no other orchestrator.")
    _prepare(plan, origin["text"], home, console, accept_code_change=args.accept_code_change)
    settings = Settings(
        data.training,
        site.checkpoint_every_s,
        reuse=not args.fresh,
        max_hours=args.max_hours,
        num_processes=site.processes_per_run,
        log_every=site.log_every,
        evaluation_folders=data.evaluations,
        hang_patience_s=site.hang_patience_s,
        quiet_patience_s=site.quiet_patience_s,
        site_file=site_file(args),
    )
    executor = _executor(study, site, args.slots or site.slots)
    if args.slots and executor.slots != args.slots:
        console.print(f"--slots changed nothing: the executor {executor.name} has {executor.slots}.")
    console.print(f"{plan.study}: {len(plan.arms)} arms, {executor.slots} runs at once, home {home.root}")
    with Board(console, executor.slots) as board:
        board.say("Starting workers and looking at what is there")
        orchestrator = Orchestrator(plan, home, executor, lease, settings, board.show)
        gc.freeze()
        gc.enable()
        board.expect(ready.expected or forecast(plan, known_s=orchestrator.ledger.mean_costs_s()))
        with PublisherProcess(home, plan.study) as publisher:
            progress, was_stopped = _run(orchestrator, executor, board, study)
            if not was_stopped:
                board.say("Writing tables and figures")
                summary = _summary(home, plan.study)
                lost = list(without_result(fruitless_arms(plan, progress.trials, progress.runs)))
                if not progress.failures():
                    runs = [home.run_of(plan.study, run_id, phase) for run_id, (_, phase, _) in progress.runs.items()]
                    remember(study, runs, {**origin, "summary": summary, "lost": lost, "t": time.time()})
                board.say("Publishing to MLflow")
                has_arrived = publisher.finish(_PUBLISHER_PATIENCE_S)
    if was_stopped:
        return _interrupted(progress)
    print(summary)
    if note := kept_apart(study):
        print(note)
    if not has_arrived:
        command = manage("publish", plan.study, home.root)
        print(
            f"MLflow ({without_password(store_uri(home))}) has not received everything; when it works again: {command}"
        )
    return max(complain_of_losses(lost), _complain_of_failures(progress, study))


def _run(orchestrator: Orchestrator, executor: Executor, board: Board, study: StudyPaths) -> tuple[Progress, bool]:
    """Go on to the end, or until somebody stops it; says whether somebody did."""
    try:
        progress = orchestrator.run()
        was_stopped = study.stop.exists() or progress.is_over_budget or progress.halted is not None
    except LeaseHeldError:
        raise  # its processes belong to a successor
    except KeyboardInterrupt:
        board.say("Stopping: what runs saves a checkpoint and leaves (Ctrl-C again: leave it running)")
        progress, was_stopped = orchestrator.stop(), True
    except BaseException:
        executor.close()
        raise
    executor.close()
    return progress, was_stopped


def _executor(study: StudyPaths, site: Site, slots: int | None) -> Executor:
    """Where runs execute."""
    if site.slurm is None:
        return LocalExecutor(slots, site.processes_per_run) if site.executor == "local" else InlineExecutor()
    from study.execution.slurm.select import slurm_executor

    return slurm_executor(study, site.slurm, slots or SLURM_SLOTS, snapshot_code(study))


def _make_folder(study: StudyPaths, home: HomePaths) -> None:
    """Create the study's folder, where only the user can know of a better place."""
    try:
        study.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = describe_trouble(error, study.root) or f"cannot create {study.root}: {error.strerror}"
        raise HomeError(f"{said}. {home.root} is the study home; another one is chosen with --home DIR") from None


def _prepare(plan: Plan, text: str, home: HomePaths, console: Console, *, accept_code_change: bool) -> None:
    """Store the plan and make sure that old and new results may be compared."""
    study = home.study(plan.study)
    finish_moves(study)
    if note := actions.store_plan(study, plan, text):
        console.print(note)
    study.finished.unlink(missing_ok=True)
    study.stop.unlink(missing_ok=True)
    write_json(study.command, record_of_command(home.root))
    warning = check_code(home, plan.study, wanted(home, plan), accept_change=accept_code_change)
    if warning:
        console.print(f"Warning: {warning}")
    elif accept_code_change:
        console.print("--accept-code-change changes nothing: no result was made by other code.")


def _summary(home: HomePaths, name: str) -> str:
    """The comparison, and what to do next."""
    from analysis.report import write_report

    study = home.study(name)
    text = write_report(study.root).text
    uri = store_uri(home)
    ui = f"{_here('mlflow')} server --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1 --port 5000 --workers 1"
    if not uri.startswith("sqlite"):
        ui = without_password(uri)
    root = "" if Path.cwd() == ROOT else f"-C {shlex.quote(os.path.relpath(ROOT))} "
    figures = f"make {root}figures STUDY={shlex.quote(name)} STUDY_HOME={shlex.quote(str(home.root))}"
    return f"{text.rstrip()}\n\nBrowse the runs:    {ui}\nRedraw the figures: {figures}"


def _here(program: str) -> str:
    """A program of this virtual environment, as it can be typed here."""
    path = Path(sys.executable).with_name(program)
    return shlex.quote(os.path.relpath(path)) if path.exists() else program


def _complain_of_failures(progress: Progress, study: StudyPaths) -> int:
    home, failures = HomePaths(study.root.parent), progress.failures()
    for spec, phase, view in failures.values():
        attempts = home.run_of(study.root.name, spec.run_id, phase).existing_attempts()
        has_log = attempts and attempts[-1].stderr.exists() and attempts[-1].stderr.stat().st_size
        log = f"; its log: {attempts[-1].stderr}" if has_log else ""
        print(f"failed: {spec.run_id}: {view.failure}{log}", file=sys.stderr)
    if any(view.status is RunStatus.FAILED for _, _, view in failures.values()):
        print(f"{counted(len(failures), 'run')} failed. To try again: {same_command()}", file=sys.stderr)
    elif failures:
        print(f"{len(failures)} bases cannot be trained like this; change `base` and the name.", file=sys.stderr)
    return SOME_FAILED if failures else FINISHED


def _interrupted(progress: Progress) -> int:
    if progress.is_over_budget:
        print(f"The {progress.spent_s() / 3600:.3g} hours that its attempts have taken reach --max-hours.")
    if progress.halted:
        print(progress.halted)
    active = progress.count(RunStatus.ACTIVE)
    still = f" {counted(active, 'run')} still run{'s' if active == 1 else ''} and will be adopted." if active else ""
    print(f"Stopped; nothing is lost.{still} To carry on: {same_command()}")
    return INTERRUPTED
