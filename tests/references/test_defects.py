"""Which criterion reacts to which defect of projections: one table, for choosing criteria and for reading results.

512 rows, 128 dimensions, weights of one but for e2mc's own; criteria that compare views get the same rows with noise
as a second view. The figures are rounded down. They come from another draw, computed in NumPy without this code, but
for the rows of rotated entropy, vc on the sphere, barlow and infonce, which say what this code gave when their formulas
had been checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from study import registry
from study.criteria.base import Criterion, Views

# A number: the total rises by at least so much above that of standard normal projections, or falls if it is negative.
# `=`: it must not react, that is, move by more than the row's `noise`. `.`: no claim.
DEFECTS = ("scale 0.5", "scale 2", "mean shift 1", "rank 8", "equicorrelated",
           "Laplace", "bimodal", "half of the dims dead", "100 tight clusters", "dependent pairs")  # fmt: skip
TABLE = """
                      noise | scale  scale  mean   rank   equi-  La-    bi-    dead   tight  dependent
                            | 0.5    2      shift  8      corr.  place  modal  dims   clust. pairs
e2mc                  0.04  | 3.5    4      4.5    0.07   0.16   0.3    4.4    29     0.3    =
entropy               0.005 | 0.35   0.4    0.45   =      =      0.03   0.44   2.9    0.03   =
covariance            0.002 | =      0.003  =      0.09   0.17   =      =      =      0.008  =
entropy, sigmoid      0.006 | 0.5    -0.22  0.18   =      =      0.06   0.41   3      0.03   =
entropy, rotated      0.004 | 0.35   0.4    0.45   0.05   0.06   =      =      0.12   0.03   =
sigreg                0.3   | 70     110    130    12     13     =      =      24     2      =
vc std, projector     0.015 | 0.44   =      =      =      =      =      =      0.44   .      =
vc cov., projector    0.01  | -0.2   3.4    =      14     27     =      =      -0.16  1.1    =
vc std, sphere        0.001 | =      =      0.02   =      =      =      =      0.03   0.002  =
vc cov., sphere       2e-5  | =      =      =      8e-4   7e-4   =      =      =      6e-5   =
uniformity            0.02  | =      =      1.8    0.8    0.7    =      =      0.05   0.3    =
mmcr                  1     | =      =      52     165    30     =      =      60     40     =
koleo                 0.02  | =      =      0.32   0.8    0.27   =      =      0.06   2      =
coding_rate           0.5   | =      =      27     80     16     =      =      30     24     =
wasserstein           0.005 | =      =      0.5    0.9    0.28   =      =      0.47   0.35   =
barlow                2     | =      =      =      1600   3000   =      =      -11    130    =
infonce               0.005 | =      =      2      1.5    0.9    =      =      0.035  2      =
infonce, decoupled    0.05  | =      =      4      3.4    2.2    =      =      0.3    4      =
none                  0     | =      =      =      =      =      =      =      =      =      =
"""

_ENTROPY, _COVARIANCE = {"entropy_weight": 1.0, "covariance_weight": 0.0}, {"entropy_weight": 0.0}
_STD, _OFF_DIAGONAL = {"covariance_weight": 0.0}, {"std_weight": 0.0, "covariance_weight": 1.0}
_SETTINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "e2mc": ("e2mc", {}),  # 10 and 1
    "entropy": ("e2mc", _ENTROPY),
    "covariance": ("e2mc", _COVARIANCE),
    "entropy, sigmoid": ("e2mc", {**_ENTROPY, "map": "sigmoid"}),
    "entropy, rotated": ("e2mc", {**_ENTROPY, "num_rotations": 2}),
    "vc std, projector": ("vc", {**_STD, "domain": "projector"}),
    "vc cov., projector": ("vc", {**_OFF_DIAGONAL, "domain": "projector"}),
    "vc std, sphere": ("vc", {**_STD, "domain": "sphere"}),
    "vc cov., sphere": ("vc", {**_OFF_DIAGONAL, "domain": "sphere"}),
    "infonce, decoupled": ("infonce", {"weight": 1.0, "decoupled": True}),
    "none": ("none", {}),
}


def _criterion(row: str) -> Criterion:
    name, settings = _SETTINGS.get(row, (row, {"weight": 1.0}))
    made: Criterion = registry.component("criteria", name)(**settings)
    return made


def _rows() -> Iterator[tuple[str, float, list[str]]]:
    """Name, noise and cells of every row."""
    for line in TABLE.strip().splitlines()[2:]:
        head, _, cells = line.partition("|")
        name, noise = head.rsplit(maxsplit=1)
        yield name.strip(), float(noise), cells.split()


def _total(criterion: Criterion, z: Tensor) -> float:
    if criterion.min_views > 1:
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
        z = torch.cat([z, z + 0.3 * z.std() * noise])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of random directions and rotations
        return float(criterion(Views(z)).total)


@pytest.mark.parametrize(("name", "noise", "cells"), list(_rows()), ids=[row[0] for row in _rows()])
def test_defects_are_seen_or_not(defects: Mapping[str, Tensor], name: str, noise: float, cells: list[str]) -> None:
    criterion = _criterion(name)
    ideal = _total(criterion, defects["ideal"])
    wrong = {}
    for defect, cell in zip(DEFECTS, cells, strict=True):
        change = _total(criterion, defects[defect]) - ideal
        if cell == "=":
            is_right = abs(change) <= noise
        elif cell == ".":
            is_right = True
        else:
            is_right = change <= float(cell) if cell.startswith("-") else change >= float(cell)
        if not is_right:
            wrong[defect] = (cell, change)
    assert not wrong


def test_every_criterion_and_every_defect_is_in_the_table(defects: Mapping[str, Tensor]) -> None:
    assert {type(_criterion(name)) for name, _, _ in _rows()} == {
        registry.component("criteria", name) for name in registry.names("criteria")
    }
    assert {"ideal", *DEFECTS} == defects.keys()
