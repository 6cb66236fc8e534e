"""Execute one attempt: claim it, train or go on training, evaluate what is asked for, and leave a last word.

The worker writes into its attempt's folder, links the result into the run, and touches nothing else.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from study import registry
from study.errors import CodeChangedError, ComponentError, DataError, DivergedError, PrunedError, StudyError
from study.journal.events import EventWriter
from study.journal.files import create_once, read_json, read_json_or_none
from study.journal.process import cpu_model, this_process
from study.journal.trouble import OF_A_DISK, describe_trouble
from study.paths import AttemptPaths
from study.plan.spec import RunSpec
from study.provenance.identity import training_code
from study.worker.preemption import StopWatch
from study.worker.process import UNWRITABLE
from study.worker.pulse import Pulse

FAILED, STOPPED = 1, 75  # exit codes; 75 is EX_TEMPFAIL: try again


def run_attempt(attempt_dir: str) -> int:
    """Execute the attempt in `attempt_dir`, which holds job.json; never raises.

    Returns:
        Exit code: 0 finished, 1 failed, 75 stopped before the end or nothing to do here, 74 failed because of the file
        system, which did not even take that as a last word.
    """
    paths = AttemptPaths(Path(attempt_dir))
    watch = StopWatch(paths)
    watch.install()  # before the claim: whoever reads that may send a signal
    try:
        if not create_once(paths.claim, this_process()):
            return STOPPED  # revoked by an orchestrator, or another process is at it
        with EventWriter(paths.events) as events, Pulse(paths.heartbeat) as pulse:
            return _report(paths, events, watch, pulse)
    except OSError as error:
        said = describe_trouble(error, paths.root) or traceback.format_exc()
        with suppress(OSError):  # its log is likely to be on the same disk; unbuffered, or it would fail once more
            os.write(sys.stderr.fileno(), f"{said}\n".encode())
        return UNWRITABLE


def _report(paths: AttemptPaths, events: EventWriter, watch: StopWatch, pulse: Pulse) -> int:
    """Execute an attempt and write down how it ended."""
    try:
        reason = _execute(paths, events, watch, pulse)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: every failure becomes an event
        kind, is_told = _kind(error), isinstance(error, StudyError)
        place = "" if is_told else registry.place_of(error)
        message = f"{place}: {registry.told(error)}" if place else str(error) or type(error).__name__
        if isinstance(error, OSError) and kind == "disk":
            message = describe_trouble(error, paths.root) or message
        has_trace = kind != "disk" and (not is_told or isinstance(error, ComponentError))
        trace = traceback.format_exc() if has_trace else None
        events.append("failed", durable=True, kind=kind, message=message, traceback=trace)
        return FAILED
    if reason:
        events.append("stopped", durable=True, reason=reason)
        return STOPPED
    events.append("finished", durable=True, max_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return 0


def _execute(paths: AttemptPaths, events: EventWriter, watch: StopWatch, pulse: Pulse) -> str | None:
    """Train and evaluate; return why it stopped before the end, or None."""
    from study.training.assemble import set_numerics
    from study.worker.evaluate import Evaluator, InterruptedEvaluation
    from study.worker.own_code import require_same_code
    from study.worker.pruning import Pruner
    from study.worker.train import link_result, train
    from study.worker.workplace import Workplace, newest_checkpoint

    spec, job = RunSpec.from_json(read_json(paths.run.spec)), read_json(paths.job)
    set_numerics(spec.training["numerics"])
    work = Workplace.open(paths, spec, job, pulse)
    code = training_code(spec.training)
    require_same_code(spec, job)
    trained = read_json_or_none(paths.run.trained)
    checkpoint = None if trained else newest_checkpoint(paths, code.hash)
    start = (trained["step"], trained["attempt"]) if trained else (0, None)
    if checkpoint:
        start = (checkpoint.step, checkpoint.attempt)
    events.append(
        "started",
        durable=True,
        attempt=paths.number,
        process=this_process(),
        resumed_step=start[0],
        resumed_attempt=start[1],
        device=str(work.device),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        cpu_model=cpu_model(),
        python=platform.python_version(),
        code=code.hash,
        libraries=code.libraries,
        commit=job.get("commit"),
        uncommitted=job.get("uncommitted", {}),
        dataset_fingerprint=work.dataset.fingerprint(work.folder),
    )
    if trained:
        link_result(paths.run)  # the attempt that trained may have been killed before its last link
    elif not train(work, checkpoint, events, watch, Pruner.of(work, job["request"].get("pruning"), events)):
        return watch.reason or "another rank"
    evaluator = Evaluator(work, watch.must_stop)
    for request in job["request"]["evaluations"]:
        if watch.must_stop():
            return watch.reason
        try:
            is_new = evaluator.evaluate(request)
        except InterruptedEvaluation:
            return watch.reason
        if is_new:
            events.append("evaluated", durable=True, key=request["key"])
    return None


def _kind(error: Exception) -> str:
    """The class of a failure, which decides what to do about it."""
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, PrunedError):
        return "pruned"
    if isinstance(error, DataError):
        return "data"
    if isinstance(error, CodeChangedError):
        return "code"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    if isinstance(error, OSError) and error.errno in OF_A_DISK:
        return "disk"
    return "error"
