"""One run: what a tracker does not have of it yet is sent, and only that is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from study.journal.files import read_json
from study.journal.replay import RunState
from study.paths import RunPaths
from study.plan.spec import RunSpec
from study.tracking import describe
from study.tracking.base import HOME_TAG, PARENT_TAG, SENT_TAG, Experiment, Tracked, Tracker
from study.tracking.identity import Home
from study.tracking.journals import Journal, Step, read_on, unsent_steps
from study.tracking.progress import RunProgress
from study.tracking.tracked import Found, ensure_run


@dataclass(frozen=True)
class Destination:
    """Where runs go.

    Attributes:
        home: whose they are.
        experiment: what they are in.
        parent: the tracked run that they are below; "" for none.
    """

    home: Home
    experiment: Experiment
    parent: str


@dataclass(frozen=True)
class Sent:
    """What was sent.

    Attributes:
        num_metrics: rows.
        newest_s: when the run's newest event happened.
        is_added: the tracked run was not below this parent before.
        is_adopted: earlier code had created the tracked run, and had not said whose it is.
        superseded: why other tracked runs are out of date.
    """

    num_metrics: int
    newest_s: float
    is_added: bool
    is_adopted: bool
    superseded: tuple[str, ...]


def publish_run(paths: RunPaths, seen: str, to: Destination, tracker: Tracker, progress: RunProgress | None) -> Sent:
    """Publish one run.

    Args:
        paths: its files.
        seen: see `RunProgress.seen`.
        to: where it goes.
        tracker: what sends it.
        progress: how far the tracker has got; None when nothing is known.

    Raises:
        JournalError: a file of the run is damaged.
        LookupError, TypeError, ValueError: its files do not hold what they should.
        TrackerError: the tracker does not work, refuses this, or does not know the run.
    """
    spec = RunSpec.from_json(read_json(paths.spec))
    if spec.run_id != paths.root.name:
        raise ValueError(f"the folder holds the run {spec.run_id}; move it away")
    journals = {int(n): Journal.from_json(j) for n, j in progress.journals.items()} if progress is not None else {}
    state = read_on(paths, journals)
    outdated: dict[str, str] = {}
    if progress is not None and (why := describe.unlike_published(progress, state)):
        outdated, progress, journals = {progress.tracked_run: why}, None, {}
        state = read_on(paths, journals)
    found = None
    if progress is None:
        found = _ensure(paths, spec, state, to, tracker, outdated)
        tracker.log_params(found.run.id, describe.flattened(spec.training))
        tracker.log_artifact(to.experiment, found.run.id, paths.spec)
        progress = RunProgress(to.experiment.store, found.run.id, status=found.run.status)
    num_metrics = _send_metrics(paths, state, journals, tracker, progress)
    status, newest_s = describe.run_status(state), describe.run_end_s(state) or 0.0
    before, progress.status = progress.status, str(status)
    progress.home, progress.seen = to.home.id, seen
    progress.evaluations = {key: content["t"] for key, content in state.evaluations.items()}
    progress.start_t, progress.weights = describe.run_start_s(state), describe.trained_weights(state)
    progress.journals = {str(number): journal.as_json() for number, journal in journals.items()}
    progress.sent = progress.digest()
    tags = describe.run_tags(spec, state) | {HOME_TAG: to.home.id, SENT_TAG: progress.sent}
    parent = progress.parent or to.parent if found is None else found.run.tags.get(PARENT_TAG, "")
    if to.parent != parent:
        tags[PARENT_TAG] = to.parent
    progress.parent = to.parent
    tracker.set_tags(progress.tracked_run, tags)
    if status.is_over or status != before:
        tracker.set_status(progress.tracked_run, status, int(newest_s * 1000))
    progress.write(paths.published)
    is_added = to.parent != parent or (found is not None and found.is_new)
    is_adopted = found is not None and HOME_TAG not in found.run.tags
    return Sent(num_metrics, newest_s, is_added, is_adopted, found.superseded if found is not None else ())


def _send_metrics(
    paths: RunPaths, state: RunState, journals: dict[int, Journal], tracker: Tracker, progress: RunProgress
) -> int:
    """Send the steps and evaluations that were not sent yet, as they are read; return how many rows."""

    def steps() -> Iterator[Step]:
        for step in unsent_steps(paths, state, journals, progress.step):
            progress.step = step[0]
            yield step

    evaluations = describe.evaluation_rows(state, progress.evaluations)
    return tracker.log_metrics(progress.tracked_run, chain(describe.step_rows(steps()), evaluations))


def _ensure(
    paths: RunPaths, spec: RunSpec, state: RunState, to: Destination, tracker: Tracker, outdated: Mapping[str, str]
) -> Found:
    def is_ours(run: Tracked) -> bool:
        if HOME_TAG in run.tags or to.experiment.is_own:
            return to.experiment.is_own or run.tags[HOME_TAG] == to.home.id
        # earlier code did not say whose; in the experiment of all homes, the training tells
        return bool(to.parent) or run.id in outdated or describe.is_tracked(run, state)

    start_s = describe.run_start_s(state) or paths.spec.stat().st_mtime
    tags = {HOME_TAG: to.home.id} | ({PARENT_TAG: to.parent} if to.parent else {})
    return ensure_run(
        tracker,
        to.experiment,
        spec.run_id,
        start_ms=int(start_s * 1000),
        tags=tags,
        is_ours=is_ours,
        unlike=lambda run: outdated.get(run.id) or describe.unlike_tracked(run, state),
    )
