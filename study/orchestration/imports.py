"""Before a study starts: the published checkpoint lies where compute nodes find it, and its hash is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from study.errors import DataError
from study.fetching import Source
from study.journal.files import read_json_or_none
from study.paths import HomePaths, from_user
from study.plan.expand import base_spec
from study.plan.model import Imported, Plan


def with_known_hash(plan: Plan, home: HomePaths, say: Callable[[str], object]) -> Plan:
    """The plan with the hash of the checkpoint that it imports; a remote file is downloaded into the home.

    What has been imported is not asked for again: the file may be gone by then.

    Args:
        plan: the study.
        home: keeps downloads.
        say: takes the line that the sweep file lacks.

    Raises:
        DataError: the file is not there, cannot be downloaded, or has another hash.
    """
    imported = plan.imported
    if imported is None:
        return plan
    if "://" not in imported.checkpoint:  # jobs start in other folders
        imported = replace(imported, checkpoint=str(from_user(imported.checkpoint).absolute()))
        plan = replace(plan, imported=imported)
    before = _before(plan, home, imported)
    if before is not None and _is_imported(plan, home, before):
        return replace(plan, imported=replace(imported, sha256=before))
    _, found = Source.parse(imported.checkpoint, imported.sha256).file(home.checkpoints / "downloads")
    if imported.sha256 is None:
        line = f"  sha256: {found}"
        say(f"The hash of {imported.checkpoint} was not checked; to check it from now on, add to base:\n{line}")
    return replace(plan, imported=replace(imported, sha256=found))


def _before(plan: Plan, home: HomePaths, imported: Imported) -> str | None:
    """The hash that the sweep file gives, or the one that was found when the study was started first."""
    if imported.sha256 is not None:
        return imported.sha256
    stored = (read_json_or_none(home.study(plan.study).plan) or {}).get("imported") or {}
    if stored.get("checkpoint") != imported.checkpoint or stored.get("sha256") is None:
        return None
    try:  # another file in the same place is another study
        return Source.parse(imported.checkpoint).file(home.checkpoints / "downloads")[1]
    except DataError:
        return str(stored["sha256"])


def _is_imported(plan: Plan, home: HomePaths, sha256: str) -> bool:
    known = replace(plan, imported=plan.imported and replace(plan.imported, sha256=sha256))
    return all(home.base(base_spec(known, seed).run_id).trained.exists() for seed in plan.base_seeds)
