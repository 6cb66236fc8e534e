"""From a published file to a checkpoint in this framework's names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch

from study import registry
from study.errors import DataError
from study.fetching import Source
from study.pretrained._converted import checkpoint_of, converted_folder, read_converted, write_converted
from study.pretrained._coverage import KeyMap, Parts, backbone_shapes, map_keys, require_complete
from study.pretrained._moments import named_moments
from study.pretrained._sections import flatten
from study.pretrained._unpickle import read_pickle
from study.pretrained.base import Checkpoint, Coverage, Family


def load_checkpoint(
    path: str | Path, family: str, *, cache: Path | None = None, sha256: str | None = None,
    architecture: str = "resnet50", optimizer: Literal["keep", "reset"] = "reset", parts: Parts = "all",
) -> Checkpoint:  # fmt: skip
    """Read a published checkpoint completely, or say everything that is wrong with it; nothing in it is ever run.

    Args:
        path: path, `file://` or `https://`; `#sha256=<hex>` behind it is another way to give the hash.
        family: a file name of `study/pretrained/`.
        cache: where downloads and conversions are kept. None: conversions are not kept, and downloads lie in torch's
            hub folder. A conversion whose `sha256` is given is read even where the published file is out of reach.
        sha256: what the hash of the published file must be; without it, the report has the line to add.
        architecture: torchvision's name of the backbone.
        optimizer: `keep` brings the optimiser's moments along, by names of parameters; `reset` leaves them.
        parts: `backbone` leaves out the head, whatever it looks like.

    Raises:
        UserError: there is no such family or architecture.
        DataError: the file is missing, cannot be downloaded, is damaged, has another hash, wants to run something,
            or its keys and shapes are not those of the family; or there is no optimiser to keep.
    """
    cls = _family(family)
    if optimizer not in ("keep", "reset"):
        raise DataError(f"optimizer must be keep or reset, but got {optimizer!r}")
    if parts not in ("all", "backbone"):
        raise DataError(f"parts must be all or backbone, but got {parts!r}")
    source = Source.parse(path, sha256)
    choices = (family, architecture, parts, optimizer)
    if cache is not None and source.sha256 is not None:
        folder = converted_folder(cache, source.sha256, *choices)
        if folder.exists():
            return _advised(read_converted(folder, source.sha256), source)
    downloads = Path(torch.hub.get_dir()) / "study" if cache is None else cache / "downloads"
    try:
        file, found = source.file(downloads)
    except DataError as error:
        known = "".join(f"\n  - {address}" for address in cls.addresses if address != source.location)
        raise DataError(
            f"{error}" + (f"\nThe authors publish files of this family at:{known}" if known else "")
        ) from error
    if cache is not None and (folder := converted_folder(cache, found, *choices)).exists():
        return _advised(read_converted(folder, found), source)
    checkpoint = _convert(file, found, cls, family, architecture, optimizer == "keep", parts)
    if cache is not None:
        write_converted(converted_folder(cache, found, *choices), checkpoint, source.name)
    return _advised(checkpoint, source)


def _convert(
    file: Path, sha256: str, cls: type[Family], name: str, architecture: str, keeps_moments: bool, parts: Parts
) -> Checkpoint:
    backbone_shapes(architecture)  # an unknown name should not be noticed after reading a gigabyte
    content = read_pickle(file, _inert())
    try:
        weights = flatten(content, cls, str(file))
    except DataError as error:
        raise DataError(f"{error}\n{_hint(content, name, architecture)}".strip()) from None
    keys = map_keys(weights, cls, architecture, parts)
    require_complete(keys, str(file), name, _hint(content, name, architecture) if keys.num_problems else "")
    moments = named_moments(content, cls, weights, keys, str(file)) if keeps_moments else None
    return checkpoint_of(keys.tensors, _report(keys, name, architecture), _epoch(content, cls), moments, sha256)


def _report(keys: KeyMap, family: str, architecture: str) -> Coverage:
    num_backbone = sum(key.startswith("backbone.") for key in keys.tensors)
    return Coverage(
        family=family,
        architecture=architecture,
        num_backbone=num_backbone,
        num_head=len(keys.tensors) - num_backbone,
        widths=keys.widths,
        folded=tuple(keys.folded),
        filled=tuple(keys.filled),
        ignored=tuple(keys.ignored),
    )


def _inert() -> list[str]:
    """What files of any family mention, so that one of another family is known by its keys."""
    return sorted({name for _, family in registry.usable("pretrained") for name in family.inert})


def _family(name: str) -> type[Family]:
    family: type[Family] = registry.component("pretrained", name)
    return family


def _epoch(content: dict[str, Any], cls: type[Family]) -> int | None:
    epoch = content.get(cls.epoch) if cls.epoch else None
    return epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None


def _advised(checkpoint: Checkpoint, source: Source) -> Checkpoint:
    """Say which line the sweep file lacks; a stored report does not know what this one says."""
    advice = (
        ""
        if source.sha256 is not None
        else f"the hash of {source.name} was not checked; to check it from now on, add this line beside its path:\n"
        f"sha256: {checkpoint.sha256}"
    )
    return dataclasses.replace(checkpoint, report=dataclasses.replace(checkpoint.report, advice=advice))


def _hint(content: dict[str, Any], family: str, architecture: str) -> str:
    """Which other family the file fits, if there is one."""
    for name, cls in registry.usable("pretrained"):
        try:
            fits = name != family and map_keys(flatten(content, cls, ""), cls, architecture, "all").num_problems == 0
        except DataError:
            continue
        if fits:
            return f"All its keys are those of the family {name}: write family: {name}"
    return ""
