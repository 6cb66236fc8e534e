"""Where the files of a dataset are looked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from study.errors import DataError


def find_folder(
    title: str, roots: Sequence[Path], names: Iterable[str], lacks: Callable[[Path], Sequence[str]], help_text: str
) -> Path:
    """Return the first `<root>/<name>` that lacks nothing.

    Args:
        title: what the dataset is called in messages.
        roots: folders to look in.
        names: sub-folders of each; `.` is the root itself.
        lacks: what a folder would have to hold and does not.
        help_text: what helps when there is none.

    Raises:
        DataError: every folder lacks something; says which and what.
    """
    looked = []
    for folder in (root / name for root in roots for name in names):
        missing = lacks(folder) if folder.is_dir() else ()
        if folder.is_dir() and not missing:
            return folder
        looked.append(f"  - {folder}: " + (f"lacks {', '.join(missing)}" if missing else "no such folder"))
    where = "\n".join(looked) or "  (no root was given)"
    raise DataError(f"{title} not found. Looked in:\n{where}\n{help_text}")


def download_with_torchvision(title: str, name: str, root: Path, help_text: str, **options: str) -> None:
    """Let `torchvision.datasets.<name>` download and unpack its files.

    Raises:
        DataError: it could not.
    """
    try:
        datasets = importlib.import_module("torchvision.datasets")
        getattr(datasets, name)(str(root), download=True, **options)
    except Exception as error:
        raise DataError(f"cannot download {title} into {root}: {error}\n{help_text}") from error


def missing_files(names: Iterable[str]) -> Callable[[Path], list[str]]:
    """What of `names` a folder does not hold."""
    wanted = tuple(names)
    return lambda folder: [name for name in wanted if not (folder / name).exists()]
