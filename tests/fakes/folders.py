"""What is in a folder, and whether it has been touched."""

from __future__ import annotations

from pathlib import Path


def times_of(folder: Path) -> dict[Path, int]:
    """File → when it was changed (ns); without the summaries, which any reader may leave beside a run that is over."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in found if path.name != "summary"}
