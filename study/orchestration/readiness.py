"""Everything that a start can check before a study's name is claimed: nothing of a refused start stays behind.

A start and a rehearsal (`--dry-run`) ask the same questions. All problems are found at once; what only costs attention
is a warning.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study import registry
from study.errors import HomeError, PlanError, UserError, listed, noting
from study.journal.trouble import describe_trouble
from study.orchestration.actions import check_plan
from study.orchestration.data import DataFolders, DataSearch, FoundData
from study.orchestration.forecast import Forecast, forecast
from study.orchestration.imports import is_far, with_known_hash
from study.orchestration.outlook import Outlook, PhaseOutlook, Slots, slots_of
from study.orchestration.preflight import warnings
from study.orchestration.provenance import check_code, wanted
from study.orchestration.room import bytes_at_once, bytes_decoded, bytes_kept, lacking, nearest
from study.orchestration.typed import manage, same_command
from study.paths import HomePaths
from study.plan.model import Phase, Plan
from study.plan.site import Site
from study.tracking.reachable import trouble
from study.tracking.store import store_uri, without_password

_GLANCE_S = 3.0  # per dataset; a rehearsal answers within seconds, however many files there are


@dataclass(frozen=True)
class Start:
    """What a command wants to start, and where.

    Attributes:
        plans: one per block.
        home: the study home.
        site: where runs execute.
        site_file: what says so; None where nothing does.
        slots: runs at once that the command asks for; None: as the site says.
        is_rehearsal: nothing will be started: images are looked at for a few seconds only, and nothing is fetched.
        reuse: whether equal runs of other studies are taken over.
        accepts_other_code: whether results of other code than there is now are kept.
    """

    plans: Sequence[Plan]
    home: HomePaths
    site: Site
    site_file: Path | None = None
    slots: int | None = None
    is_rehearsal: bool = False
    reuse: bool = True
    accepts_other_code: bool = False


@dataclass(frozen=True)
class Ready:
    """One study that may start.

    Attributes:
        plan: with the hash of its checkpoint, where that is known.
        data: where its images lie; None when something is wrong with them, or they are not here yet.
        outlook: what is left to do, by phase.
        num_decoded_bytes: what decoded training images will take, as far as they are not there yet.
        expected: how long it will take, timed before anything starts; None where runs that are there tell it.
    """

    plan: Plan
    data: DataFolders | None
    outlook: Mapping[Phase, PhaseOutlook]
    num_decoded_bytes: int = 0
    expected: Forecast | None = None

    def timed(self) -> Ready:
        """With a few training steps timed, unless each phase has runs that tell more."""
        is_told = all(one.num_done or not one.num_runs for one in self.outlook.values())
        return self if is_told else replace(self, expected=forecast(self.plan))


@dataclass(frozen=True)
class Readiness:
    """What was found.

    Attributes:
        studies: one per block.
        slots: runs at once.
        problems: everything that keeps the command from starting.
        warnings: what a user should know before anything is spent.
    """

    studies: tuple[Ready, ...]
    slots: Slots
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def require(self) -> None:
        """Raise UserError with all problems, if there are any."""
        if self.problems:
            raise UserError(listed(self.problems))


def check_start(start: Start) -> Readiness:
    """Check home, site, batch sizes, checkpoint, names, code, disk, images and the MLflow store.

    Images and checkpoints that are not here are downloaded, unless something is wrong so far, or nothing will be
    started; images are then looked at for a few seconds only.
    """
    slots = slots_of(start.site, start.site_file, start.slots)
    problems = [*_wrong_homes(start)]
    is_usable = not problems
    problems += [*_wrong_site(start), *_wrong_batches(start)]
    if not is_usable:
        return Readiness((), slots, tuple(problems), ())
    plans, notes = _with_hashes(start, start.plans, problems)
    problems += [*_wrong_names(start, plans), *_other_code(start, plans)]
    if not start.is_rehearsal and not problems and any(is_far(plan, start.home) for plan in plans):
        plans, notes = _with_hashes(start, plans, problems, may_download=True)
    outlooks = Outlook(start.home, reuse=start.reuse)
    outlook = [outlooks.of(plan) for plan in plans]
    is_quick = start.is_rehearsal or bool(problems)
    search = DataSearch(start.home, may_download=not is_quick, patience_s=_GLANCE_S if is_quick else None)
    found = [search.find(plan) for plan in plans]
    problems += [problem for one in found for problem in one.problems]
    problems += _no_room(start, plans, outlook, found, slots)
    notes += [note for one in found for note in one.notes]
    notes += [*_of_tests(plans), *registry.broken(), *_silent_store(start)]
    studies = tuple(
        Ready(plan, one.folders, left, sum(one.room.values()) if one.folders else bytes_decoded(plan))
        for plan, one, left in zip(plans, found, outlook, strict=True)
    )
    return Readiness(studies, slots, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)))


def _wrong_homes(start: Start) -> Iterator[str]:
    """A study's folder can be made, or written into; nothing is made to find out."""
    for plan in start.plans:
        folder = start.home.study(plan.study).root
        there = nearest(folder)
        if not there.is_dir():
            reason = f"{there} is no folder. Move that away"
        elif not os.access(there, os.W_OK | os.X_OK):
            is_read_only = bool(os.statvfs(there).f_flag & os.ST_RDONLY)
            code = errno.EROFS if is_read_only else errno.EACCES
            reason = str(describe_trouble(OSError(code, os.strerror(code)), there))
        else:
            continue
        if there == folder and there.is_dir():
            yield f"{reason} and start the same command again, nothing is lost: {same_command()}"
        else:
            yield f"cannot create {folder}: {reason}, or name another home with --home DIR"


def _wrong_site(start: Start) -> Iterator[str]:
    if start.site.slurm is None or start.site_file is None:
        return
    from study.execution.slurm.validation import require_valid

    try:
        require_valid(start.site, start.site_file, start.home.root)
    except PlanError as error:
        yield from (f"{start.site_file}: {problem}" for problem in error.problems)
    except UserError as error:
        yield str(error)


def _wrong_batches(start: Start) -> Iterator[str]:
    """All processes of a run see equally many images of a batch."""
    from study.training.team import Team

    team = Team(size=start.site.processes_per_run)
    for plan in start.plans:
        tuned = plan.during(Phase.TUNE).continuation
        recipes = {"base": plan.pretraining, "continuation": plan.continuation, "tune.overrides continuation": tuned}
        for place, recipe in recipes.items():
            if recipe.epochs and (place != "tune.overrides continuation" or recipe != plan.continuation):
                try:
                    team.require_divides(recipe.batch_size)
                except UserError as error:
                    yield f"{place}: {error}"


def _with_hashes(
    start: Start, plans: Sequence[Plan], problems: list[str], *, may_download: bool = False
) -> tuple[list[Plan], list[str]]:
    """The plans with the hashes of their checkpoints, as far as these are here or may be fetched."""
    known, notes = [], []
    for plan in plans:
        found = plan
        with noting(problems):
            found, said = with_known_hash(plan, start.home, may_download=may_download)
            notes += said
        known.append(found)
    return known, notes


def _wrong_names(start: Start, plans: Sequence[Plan]) -> Iterator[str]:
    for plan in plans:
        try:
            check_plan(start.home.study(plan.study), plan)
        except HomeError as error:
            yield str(error)


def _other_code(start: Start, plans: Sequence[Plan]) -> Iterator[str]:
    """What there is was made by the code that would go on."""
    if start.accepts_other_code or not (start.home.root / "code").is_dir():
        return
    for plan in plans:
        try:
            check_code(start.home, plan.study, wanted(start.home, plan), accept_change=False)
        except HomeError as error:
            yield str(error)


def _no_room(
    start: Start, plans: Sequence[Plan], outlook: Sequence[Mapping[Phase, PhaseOutlook]], found: Sequence[FoundData],
    slots: Slots,
) -> Iterator[str]:  # fmt: skip
    """What is left takes less than is free; studies follow each other, so that one at a time trains."""
    each = [*zip(plans, outlook, strict=True)]
    kept = sum(bytes_kept(plan, left) for plan, left in each)
    at_once = max(bytes_at_once(plan, left, slots.number) for plan, left in each)
    images = {folder: num_bytes for one in found for folder, num_bytes in one.room.items()}
    home = start.home.root
    return lacking(home, {**images, home: kept + at_once + images.get(home, 0)})


def _of_tests(plans: Sequence[Plan]) -> Iterator[str]:
    """Warnings about seeds and tests; of several studies, with the name where not all have it."""
    each = {plan.study: warnings(plan) for plan in plans}
    for study, said in each.items():
        for warning in said:
            is_common = all(warning in others for others in each.values())
            yield warning if is_common else f"{study}: {warning}"


def _silent_store(start: Start) -> Iterator[str]:
    uri = store_uri(start.home)
    if (reason := trouble(uri)) is not None:
        command = manage("publish", start.plans[0].study, start.home.root)
        yield (
            f"MLflow does not answer at {without_password(uri)} ({reason}). Nothing waits for it; when it works again: "
            f"{command}"
        )
