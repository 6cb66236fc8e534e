"""What a training saw, as hashes that arms with equal seeds must share: weights, images and views, not seeds.

- the weights in the network, and the moments in the optimiser, as they are before the first step;
- the images: the rows that were looked up, of every step;
- the views: the bytes that the network is given, of the steps that `has_hashed_views` names.

Rows and views are hashed image by image, each with its step and its place in the batch, and the sha256s are added up
(32 bits at a time), so that several processes, each with its rows, come to the hash of one with the whole batch. Sums
can be kept in a checkpoint and gone on with: a training that was interrupted ends with the hashes of one that was not.

Views are numbers with rounding: processors of another kind give other last bits. So beside their hash there is a
*sketch*, a few random projections of all of them: when hashes differ, it tells rounding from other views.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.training.team import Team

_WORDS = 8  # of 32 bits, in a sha256
_LANES = 4  # of a sketch
_FRACTION_BITS = 20  # of what is added to a sketch: sums of whole numbers do not depend on their order
_LARGEST = 2.0**50
_MOST_PIXELS = 2**20  # that are projected at once: 8 MB
_DIGITS = 6  # of a finished sketch
_MASK = 2**32 - 1
_header = struct.Struct("<qqq").pack


class Seen:
    """Running hashes of one training, of all its processes together."""

    def __init__(self, device: torch.device) -> None:
        """Begin before step 1; `device` is where processes exchange tensors."""
        self._team, self._device = Team.current(), device
        self._weights, self._moments = "", ""
        self._sums = torch.zeros(2 * _WORDS + _LANES, dtype=torch.int64)  # of all processes, in every process
        self._first_step, self._num_steps, self._num_view_steps, self._num_pixels = 1, 0, 0, 0

    def start(self, network: nn.Module, optimizer: torch.optim.Optimizer, loaded_from: Path | None = None) -> None:
        """Hash what the training begins with: to be called before its first step.

        Args:
            network: hashed by `network_sha256`.
            optimizer: its moments count, not its settings.
            loaded_from: the file that the weights are from.
        """
        self._weights = self._agreed(network_sha256(network, loaded_from))
        moments = {
            f"{parameter}.{name}": value
            for parameter, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        self._moments = self._agreed(_hashed(moments)) if moments else ""

    def add(self, step: int, rows: Tensor, views: Iterable[Tensor], *, batch_size: int, with_views: bool) -> None:
        """Add one step.

        Args:
            step: its number, from 1.
            rows: the images of this process, int64, on the CPU.
            views: of these images, in the order of the rows, on the training's device.
            batch_size: rows of all processes together.
            with_views: whether the views are hashed; they are fetched in one transfer.
        """
        first = self._team.rows(batch_size).start
        hashed = [hashlib.sha256(_header(step, first + i, row)).digest() for i, row in enumerate(rows.tolist())]
        found = np.concatenate([_sum(hashed), np.zeros(_WORDS + _LANES, dtype=np.int64)])
        if with_views:
            pixels = torch.cat([view.detach().float().flatten(1) for view in views], dim=1).cpu().numpy()
            found[_WORDS:] = _of_views(pixels, step, first, batch_size)
            self._num_pixels += batch_size * pixels.shape[1]
            self._num_view_steps += 1
        total = self._team.total(torch.from_numpy(found), self._device)
        self._sums = self._sums.to(total.device) + total
        self._sums[: 2 * _WORDS].bitwise_and_(_MASK)
        self._num_steps += 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "sums": self._sums.tolist(),
            "weights": self._weights,
            "moments": self._moments,
            "first_step": self._first_step,
            "num_steps": self._num_steps,
            "num_view_steps": self._num_view_steps,
            "num_pixels": self._num_pixels,
        }

    def load_state(self, state: Mapping[str, Any] | None, step: int) -> None:
        """Go on from a checkpoint at `step`; without a state, of earlier code, what came before is not covered."""
        if state is None:
            self._first_step = step + 1
            return
        self._sums = torch.tensor(state["sums"], dtype=torch.int64)
        self._weights, self._moments = state["weights"], state["moments"]
        self._first_step, self._num_steps = state["first_step"], state["num_steps"]
        self._num_view_steps, self._num_pixels = state["num_view_steps"], state["num_pixels"]

    def hashes(self) -> dict[str, Any]:
        """Return what a run keeps of it.

        Keys: `loaded_weights`, for a continuation the sha256 of its base's file unless the weights are others, and
        `loaded_moments`, "" when the training has not been seen from its first step on, or the optimiser was empty;
        `rows` and `views`, 64 hex digits; `sketch`, numbers of the size of a pixel's root mean square; `first_step`,
        `last_step` and `num_view_steps`, which steps these cover.
        """
        sums = self._sums.tolist()
        rows, views = (struct.pack("<8I", *sums[i : i + _WORDS]).hex() for i in (0, _WORDS))
        unit = 2.0**_FRACTION_BITS * math.sqrt(max(1, self._num_pixels))
        return {
            "loaded_weights": self._weights,
            "loaded_moments": self._moments,
            "rows": rows,
            "views": views,
            "sketch": [round(value / unit, _DIGITS) for value in sums[2 * _WORDS :]],
            "first_step": self._first_step,
            "last_step": self._first_step + self._num_steps - 1,
            "num_view_steps": self._num_view_steps,
        }

    def _agreed(self, digest: str) -> str:
        """A hash that all processes have; where they differ, one that none of them has."""
        own = torch.from_numpy(_sum([bytes.fromhex(digest)]))
        total = self._team.total(own, self._device).cpu()
        if torch.equal(total, own * self._team.size):
            return digest
        return hashlib.sha256(total.numpy().tobytes()).hexdigest()


def network_sha256(network: nn.Module, like: Path | None = None) -> str:
    """Hash all weights and buffers of a network, one tensor at a time: a copy of the whole may be a gigabyte.

    Args:
        network: on any device.
        like: a safetensors file with tensors of the same names. The hash is that of the file, if it held these weights.
    """
    state: Mapping[str, Tensor] = network.state_dict()
    if like is None:
        return _hashed(state)
    with like.open("rb") as file:
        size = file.read(8)
        header = file.read(int.from_bytes(size, "little"))
    places = {name: place["data_offsets"] for name, place in json.loads(header).items() if name != "__metadata__"}
    digest = hashlib.sha256(size + header)
    for name in sorted(places, key=places.__getitem__):
        digest.update(_bytes(state[name]))
    return digest.hexdigest()


def _hashed(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _sum(digests: list[bytes]) -> NDArray[np.int64]:
    """Sums of the 32-bit words of sha256s, shape (8,); far below 2^63 for any batch."""
    words: NDArray[np.int64] = np.frombuffer(b"".join(digests), "<u4").reshape(-1, _WORDS).sum(axis=0, dtype=np.int64)
    return words


def _of_views(pixels: NDArray[np.float32], step: int, first: int, batch_size: int) -> NDArray[np.int64]:
    """What the views of some images add: the words of their sha256s, and their part of the sketch."""
    width, digests = pixels.shape[1], []
    for place, row in enumerate(pixels, start=first):
        digest = hashlib.sha256(_header(step, place, width))
        digest.update(row)
        digests.append(digest.digest())
    across = _signs(np.arange(width, dtype=np.uint64))
    places = _signs(np.arange(first, first + len(pixels), dtype=np.uint64) + np.uint64(step * batch_size))
    sketch, at_once = np.zeros(_LANES), max(1, _MOST_PIXELS // width)
    for start in range(0, len(pixels), at_once):
        part = slice(start, start + at_once)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite ends the training elsewhere
            projected = np.nan_to_num((pixels[part].astype(np.float64) @ across) * places[part] * 2.0**_FRACTION_BITS)
        sketch += np.rint(projected.clip(-_LARGEST, _LARGEST)).sum(axis=0)
    return np.concatenate([_sum(digests), sketch.astype(np.int64)])


def _signs(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Four signs for each number, ±1, shape (count, 4): bits of splitmix64's output.

    Source: G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, §5.
    """
    z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = (z[:, None] >> np.arange(60, 60 + _LANES, dtype=np.uint64)) & np.uint64(1)
    return 1.0 - 2.0 * bits.astype(np.float64)
