"""What a checkpoint was converted to: a folder with safetensors and a manifest, written once and verified on reading.

::

    <cache>/<sha256, 12 digits>-<family>-<architecture>-<parts>-<optimizer>-<code, 8 digits>/
        manifest.json          where it comes from, hashes of the files here, what became of every key
        weights.safetensors    backbone.* and the head, by names in the network
        moments.safetensors    `<parameter>/<moment>`, where the optimiser's state is kept
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache as remembered
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.errors import DataError, JournalError
from study.fetching import sha256_of
from study.journal.files import read_json, write_json
from study.pretrained.base import Checkpoint, Coverage

_MANIFEST, _WEIGHTS, _MOMENTS = "manifest.json", "weights.safetensors", "moments.safetensors"


def converted_folder(cache: Path, sha256: str, *choices: str) -> Path:
    """Where the conversion of a file lies; another version of the code that converts has another folder."""
    return cache / "-".join([sha256[:12], *choices, _code()])


def write_converted(folder: Path, checkpoint: Checkpoint, source: str) -> None:
    """Write the folder as a whole, unless another process was first.

    Raises:
        DataError: it cannot be written.
    """
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft."))
        draft.chmod(0o755)  # mkdtemp's 0700 would hide it from jobs of other users
        _write(draft, checkpoint, source)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(f"cannot write the converted checkpoint to {folder}: {error}; choose another cache") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def read_converted(folder: Path, sha256: str) -> Checkpoint:
    """Read the conversion of the file with this hash, after comparing all hashes with the manifest.

    Raises:
        DataError: something in it is damaged.
    """
    try:
        manifest = read_json(folder / _MANIFEST)
        if manifest["sha256"] != sha256:  # the folder's name has 12 digits of it
            raise DataError(f"it was converted from a file with sha256 {manifest['sha256']}, not {sha256}")
        for name, digest in manifest["files"].items():
            if (found := sha256_of(folder / name)) != digest:
                raise DataError(f"{name} has sha256 {found}, the manifest says {digest}")
        return _checkpoint(manifest, load_file(folder / _WEIGHTS), folder)
    except (OSError, KeyError, TypeError, JournalError, DataError, SafetensorError) as error:
        raise DataError(f"{folder} is damaged ({error}); delete the folder, it will be written again") from error


def _write(draft: Path, checkpoint: Checkpoint, source: str) -> None:
    save_file(checkpoint.network, draft / _WEIGHTS)
    files = {_WEIGHTS: sha256_of(draft / _WEIGHTS)}
    state: Mapping[str, Mapping[str, Any]] = (checkpoint.optimizer or {}).get("state", {})
    moments = {f"{name}/{key}": v for name, m in state.items() for key, v in m.items() if isinstance(v, Tensor)}
    if moments:
        save_file(moments, draft / _MOMENTS)
        files[_MOMENTS] = sha256_of(draft / _MOMENTS)
    optimizer = None
    if checkpoint.optimizer is not None:
        numbers = {name: {k: v for k, v in m.items() if not isinstance(v, Tensor)} for name, m in state.items()}
        optimizer = {"state": numbers, "param_groups": checkpoint.optimizer["param_groups"]}
    manifest = {
        "schema_version": 1,
        "source": source,
        "sha256": checkpoint.sha256,
        "epoch": checkpoint.epoch,
        "report": dataclasses.asdict(checkpoint.report),
        "optimizer": optimizer,
        "files": files,
    }
    write_json(draft / _MANIFEST, manifest)


def _checkpoint(manifest: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> Checkpoint:
    report: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in manifest["report"].items()
    }
    optimizer = manifest["optimizer"]
    if optimizer is not None and _MOMENTS in manifest["files"]:
        for key, tensor in load_file(folder / _MOMENTS).items():
            name, _, moment = key.rpartition("/")
            optimizer["state"][name][moment] = tensor
    return checkpoint_of(weights, Coverage(**report), manifest["epoch"], optimizer, manifest["sha256"])


def checkpoint_of(
    network: Mapping[str, Tensor], report: Coverage, epoch: int | None, optimizer: Mapping[str, Any] | None, sha256: str
) -> Checkpoint:
    """Take backbone and head of one state dict apart."""
    prefix = "backbone."
    return Checkpoint(
        backbone={key.removeprefix(prefix): tensor for key, tensor in network.items() if key.startswith(prefix)},
        head={key: tensor for key, tensor in network.items() if not key.startswith(prefix)},
        epoch=epoch,
        optimizer=optimizer,
        sha256=sha256,
        report=report,
    )


@remembered
def _code() -> str:
    """Hash of this package: what was converted by other code is not taken for its own."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:8]
