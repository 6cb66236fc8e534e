"""The code that one training, or one evaluation, can execute: its files, the versions of its libraries, one hash.

A result is made by its own components (criterion, method, backbone, dataset, augmentation, evaluation, by the names in
its spec), by what these import inside the project, and by the shared core: the training loop and the parts of the
worker that compute. Editing one criterion changes the identity of the runs that use it, and of no others.

What is left out computes no number: it reads specs, writes records, and runs processes. What it decides is in a run's
spec, which has an identity of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from study import registry
from study.plan.identity import digest
from study.plan.model import PlannedEvaluation
from study.provenance.imports import module_of, source

FAMILIES = {
    "dataset": "datasets", "method": "methods", "backbone": "backbones", "augmentation": "augmentations",
    "criterion": "criteria",
}  # fmt: skip
_COMPUTES_NOTHING = (
    "__init__.py", "errors.py", "amounts.py", "interpreter.py", "registry/", "paths/", "plan/", "journal/",
    "provenance/", "worker/preemption.py", "worker/own_code.py", "worker/pulse.py", "worker/messages.py",
)  # fmt: skip
# Parts of the worker that other parts import and few runs execute: they count for the runs that ask for them.
_ON_DEMAND = ("worker/imported.py", "worker/pruning.py", "worker/evaluate.py", "training/trainable.py")
_ALWAYS = ("torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn")  # and what components import besides
_CORE = ("training/", "worker/", "tensors/", "fetching/")
_DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "PyYAML", "cv2": "opencv-python"}


@dataclass(frozen=True, eq=False)
class CodeIdentity:
    """What one kind of results is made by; two of them are compared by their hashes.

    Attributes:
        files: path relative to `study/` → sha256 (hex) of the text.
        libraries: name → version.
        hash: sha256 (hex) over both.
    """

    files: Mapping[str, str]
    libraries: Mapping[str, str]
    hash: str

    def as_json(self) -> dict[str, Any]:
        """What a home keeps under the hash."""
        return {"files": dict(self.files), "libraries": dict(self.libraries), "hash": self.hash}


def training_code(training: Mapping[str, Any]) -> CodeIdentity:
    """Return what the training of a spec can execute.

    Args:
        training: `training` of a run's spec.

    Raises:
        UserError: a component of the spec has no file any more.
    """
    components = [(family, training[key]["name"]) for key, family in FAMILIES.items() if key in training]
    if "imported" in training:
        components.append(("pretrained", training["imported"]["family"]))
    return _identity("worker/train.py", tuple(components))


def evaluation_code(evaluation: PlannedEvaluation, training: Mapping[str, Any]) -> CodeIdentity:
    """Return what an evaluation of a run can execute, once the run is trained.

    Args:
        evaluation: as the plan has it.
        training: `training` of the run's spec.

    Raises:
        UserError: a component has no file any more.
    """
    dataset = training["dataset"]["name"] if evaluation.dataset is None else evaluation.dataset.name
    network = [(FAMILIES[key], training[key]["name"]) for key in ("method", "backbone")]
    components = (("evaluations", evaluation.component.name), ("datasets", dataset), *network)
    return _identity("worker/evaluate.py", components)


def remember_all() -> None:
    """Read and import all that any run can execute: what is edited later is then neither hashed nor executed here.

    A server from which processes are forked does so once. What cannot be imported is left to the runs that need it,
    whose message is about it.
    """
    for path in sorted(files_of_all_runs()):
        with suppress(Exception):
            importlib.import_module(module_of(path))


def files_of_all_runs() -> set[str]:
    """Return the files that any run can execute, whatever its components; without those that cannot be read."""
    roots = ["worker/train.py", *_ON_DEMAND]
    for family in registry.FAMILIES:
        roots += [registry.path_of(family, name) for name in registry.names(family)]
    found: set[str] = set()
    for root in roots:
        with suppress(OSError, SyntaxError, ValueError):
            found |= executed_files([root])
    return found


def executed_files(roots: Iterable[str]) -> set[str]:
    """Return the files that compute when some of them are executed, the given ones included."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += [other for other in source(path).project if other not in _ON_DEMAND and _computes(other)]
    return found


def _computes(path: str) -> bool:
    return not path.startswith(_COMPUTES_NOTHING)


@cache
def _identity(entry: str, components: tuple[tuple[str, str], ...]) -> CodeIdentity:
    """What can be executed from a part of the worker on, with these components (family, name)."""
    roots = [entry, *(registry.path_of(*component) for component in components)]
    for family, name in components:
        if family == "pretrained":
            roots.append("worker/imported.py")
        elif family == "evaluations" and _may_train(name):
            roots.append("training/trainable.py")
    paths = sorted(executed_files(roots))
    others = [path for path in paths if not path.startswith(_CORE)]
    imported = {_DISTRIBUTIONS.get(name, name) for path in others for name in source(path).libraries}
    content = {
        "files": {path: source(path).sha256 for path in paths},
        "libraries": {name: _version(name) for name in sorted({*_ALWAYS, *imported})},
    }
    return CodeIdentity(**content, hash=digest(content))


def _may_train(evaluation: str) -> bool:
    """Whether an evaluation, or what it imports, speaks of `trains_network`; no orchestrator loads it to ask."""
    own = executed_files([registry.path_of("evaluations", evaluation)]) - {"evaluations/base.py"}
    return any(b"trains_network" in source(path).text for path in own)


@cache
def _version(name: str) -> str:
    """Version of a distribution; of a module that belongs to none, a hash of its text."""
    try:
        return version(name)
    except PackageNotFoundError:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "not installed"
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    content = hashlib.sha256()
    for file in files:
        content.update(file.relative_to(origin.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return f"sha256 {content.hexdigest()[:12]}"
