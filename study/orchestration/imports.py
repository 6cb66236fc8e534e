"""Before a study starts: the published checkpoint lies where compute nodes find it, and its hash is known."""

from __future__ import annotations

from dataclasses import replace

from study.errors import DataError
from study.fetching import Source
from study.journal.files import read_json_or_none
from study.paths import HomePaths, from_user
from study.plan.expand import base_spec
from study.plan.model import Imported, Plan


def with_known_hash(plan: Plan, home: HomePaths, *, may_download: bool = True) -> tuple[Plan, list[str]]:
    """The plan with the hash of the checkpoint that it imports; a remote file is downloaded into the home.

    What has been imported is not asked for again: the file may be gone by then.

    Args:
        plan: the study.
        home: keeps downloads.
        may_download: whether a file that is not here is fetched; else the hash stays as it is given.

    Returns:
        The plan, and what a user should know: the line that the sweep file lacks, or that a file is not here yet.

    Raises:
        DataError: the file is not there, cannot be downloaded, or has another hash.
    """
    imported = plan.imported
    if imported is None:
        return plan, []
    if "://" not in imported.checkpoint:  # jobs start in other folders
        imported = replace(imported, checkpoint=str(from_user(imported.checkpoint).absolute()))
        plan = replace(plan, imported=imported)
    source, downloads = Source.parse(imported.checkpoint, imported.sha256), home.checkpoints / "downloads"
    before = _before(plan, home, imported, is_here=may_download or source.is_here(downloads))
    if before is not None and _is_imported(plan, home, before):
        return replace(plan, imported=replace(imported, sha256=before)), []
    if not may_download and not source.is_here(downloads):
        return replace(plan, imported=replace(imported, sha256=before)), [
            f"{imported.checkpoint} is not here yet; a start downloads it into {downloads}"
        ]
    _, found = source.file(downloads)
    notes = []
    if imported.sha256 is None:
        line = f"  sha256: {found}"
        notes = [f"the hash of {imported.checkpoint} was not checked; to check it from now on, add to base:\n{line}"]
    return replace(plan, imported=replace(imported, sha256=found)), notes


def is_far(plan: Plan, home: HomePaths) -> bool:
    """Whether the checkpoint that a plan imports has to be downloaded, and has not been imported before."""
    imported = plan.imported
    if imported is None or Source.parse(imported.checkpoint, imported.sha256).is_here(home.checkpoints / "downloads"):
        return False
    return imported.sha256 is None or not _is_imported(plan, home, imported.sha256)


def _before(plan: Plan, home: HomePaths, imported: Imported, *, is_here: bool) -> str | None:
    """The hash that the sweep file gives, or the one that was found when the study was started first."""
    if imported.sha256 is not None:
        return imported.sha256
    stored = (read_json_or_none(home.study(plan.study).plan) or {}).get("imported") or {}
    if stored.get("checkpoint") != imported.checkpoint or stored.get("sha256") is None:
        return None
    if not is_here:
        return str(stored["sha256"])
    try:  # another file in the same place is another study
        return Source.parse(imported.checkpoint).file(home.checkpoints / "downloads")[1]
    except DataError:
        return str(stored["sha256"])


def _is_imported(plan: Plan, home: HomePaths, sha256: str) -> bool:
    known = replace(plan, imported=plan.imported and replace(plan.imported, sha256=sha256))
    return all(home.base(base_spec(known, seed).run_id).trained.exists() for seed in plan.base_seeds)
