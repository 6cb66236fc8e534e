"""Folders with one folder per class: which are classes, which files in them are images, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from study.amounts import count
from study.datasets._listing import Listing, is_utf8
from study.errors import DataError, did_you_mean, raise_any, shown

READ_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm",
)  # fmt: skip
_NO_CLASSES = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"}
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini"}


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; classes are numbered in that order.

    Hidden folders and those that systems leave behind (`__MACOSX`, `@eaDir`, …) are no classes.

    Raises:
        DataError: there is no such folder, or none in it.
    """
    names = sorted(entry.name for entry in _entries(folder) if _is_folder(entry) and _may_be_class(entry.name))
    if not names:
        raise DataError(f"{folder}: expected one folder per class, but there is none in it")
    return names


def list_classes(folder: Path, classes: Sequence[str], others: Sequence[str] = ()) -> Listing:
    """All image files below `<folder>/<class>`, sorted by name within each class; none is opened.

    Args:
        folder: of one part of a dataset.
        classes: that the part must have, in the order of their numbers.
        others: names of folders that are there and must not be.

    Raises:
        DataError: with all that is wrong: a class has no folder or no images, a folder is no class, a name is not
            UTF-8, a link leads into its own folder.
    """
    there = {entry.name for entry in _entries(folder) if _is_folder(entry)}
    names: list[str] = []
    skipped = [entry.name for entry in _entries(folder) if not _is_folder(entry) and not _is_litter(entry.name)]
    counts: list[int] = []
    problems: list[str] = []
    for name in classes:
        found: list[str] = []
        try:
            for path in _files_below(folder, name) if name in there else ():
                (found if path.lower().endswith(READ_SUFFIXES) else skipped).append(path)
        except DataError as error:
            problems += error.problems
        found.sort()
        names += found
        counts.append(len(found))
    problems = [*_wrong_classes(folder, classes, counts, there, others), *problems, *_wrong_names(folder, names)]
    raise_any(problems)
    return Listing(folder, tuple(names), np.repeat(np.arange(len(classes), dtype=np.int64), counts), tuple(skipped))


def is_inside(folder: Path, other: Path) -> bool:
    """Whether a folder is another one or lies in it, links followed."""
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(other))


def _wrong_classes(
    folder: Path, classes: Sequence[str], counts: Sequence[int], there: set[str], others: Sequence[str]
) -> Iterator[str]:
    missing = [name for name in classes if name not in there]
    empty = [name for name, count in zip(classes, counts, strict=True) if not count and name in there]
    if missing:
        meant = did_you_mean(missing[0], others).partition(" Known:")[0] if others else ""
        yield f"{folder}: no folder for {_of_classes(missing)}.{meant}".removesuffix(".")
    if empty:
        yield f"{folder}: no image files in the folders of {_of_classes(empty)}; read are {', '.join(READ_SUFFIXES)}"
    if others:
        yield f"{folder}: folders that are no class of the training images: {shown(list(others))}"


def _of_classes(names: Sequence[str]) -> str:
    return f"{count(len(names), 'class', 'classes')}: {shown(list(names))}"


def _wrong_names(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """Names become part of hashes and of files that are UTF-8."""
    wrong = [os.fsencode(name) for name in names if not name.isascii() and not is_utf8(name)]
    if wrong:
        names_of = "name of a file is" if len(wrong) == 1 else "names of files are"
        yield f"{folder}: {len(wrong)} {names_of} not UTF-8, e.g. {wrong[0]!r}; rename them"


def _files_below(root: Path, name: str) -> Iterator[str]:
    for entry in _entries(root / name):
        if _is_folder(entry):
            if entry.is_symlink() and is_inside(root / name, Path(entry.path)):
                raise DataError(f"{entry.path} is a link to a folder that holds it; remove the link")
            if _may_be_class(entry.name):
                yield from _files_below(root, f"{name}/{entry.name}")
        elif not _is_litter(entry.name):
            yield f"{name}/{entry.name}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path}: cannot be read ({error})") from error


def _may_be_class(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NO_CLASSES


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER
