"""How often do the intervals and tests of a report err when there are few units? A simulation of whole studies.

Every simulated study has six contrasts with one reference and no true difference. A difference is the noise of an arm
plus that of the reference, which all contrasts of a unit share: their correlation is 1/2, as between real arms that
differ from one reference. Skewed noise is exponential, centred; the differences then have skewness √2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.sign_flip import floor

UNITS = (3, 5, 8, 10)
NUM_CONTRASTS, ALPHA = 6, 0.05
_NUM_STUDIES, _AT_ONCE = 100_000, 2_000
_TIE = 1e-9

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """What the analysis says about each contrast of each study, (studies, contrasts); the true difference is zero."""

    p_t: Floats
    p_sign_flip: Floats
    is_covered: Bools


@dataclass(frozen=True)
class Row:
    """One line of the table; shares of studies or contrasts."""

    shape: str
    n: int
    coverage: float
    error_sign_flip: float
    family_error_t: float
    family_error_sign_flip: float


def family(rng: np.random.Generator, shape: str, n: int, num_studies: int) -> Floats:
    """Paired differences with mean zero and sd one, (studies, contrasts, units)."""
    size = (num_studies, 1 + NUM_CONTRASTS, n)
    noise = rng.normal(size=size) if shape == "normal" else rng.exponential(size=size) - 1
    return (noise[:, 1:] + noise[:, :1]) / np.sqrt(2)


def outcomes(differences: Floats) -> Outcomes:
    """Analyse all studies at once; the tests compare this with what a report does one by one."""
    n = differences.shape[-1]
    mean, error = differences.mean(axis=-1), differences.std(axis=-1, ddof=1) / np.sqrt(n)
    t = mean / error
    is_covered = np.abs(mean) <= stats.t.ppf(0.975, n - 1) * error
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n)  # the first unit keeps its sign: mirror images are equal
    signs = 1.0 - 2.0 * (bits & 1)
    sums = np.abs(differences @ signs.T)
    observed = np.abs(differences.sum(axis=-1, keepdims=True)) - _TIE * np.abs(differences).sum(axis=-1, keepdims=True)
    return Outcomes(2 * stats.t.sf(np.abs(t), n - 1), (sums >= observed).mean(axis=-1), is_covered)


def any_rejected(p: Floats) -> Bools:
    """Whether Holm's method rejects anything in a study: the smallest p decides."""
    return p.min(axis=-1) * p.shape[-1] <= ALPHA


def simulate(shape: str, n: int, num_studies: int, seed: int) -> Row:
    """Simulate studies with `n` units."""
    rng, parts = np.random.default_rng(seed), []
    for _ in range(0, num_studies, _AT_ONCE):
        found = outcomes(family(rng, shape, n, _AT_ONCE))
        parts.append(
            (
                found.is_covered.mean(),
                (found.p_sign_flip <= ALPHA).mean(),
                any_rejected(found.p_t).mean(),
                any_rejected(found.p_sign_flip).mean(),
            )
        )
    return Row(shape, n, *map(float, np.mean(parts, axis=0)))


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| differences | n | t interval covers | t test errs | sign-flip errs | floor | family errs, t | … sign-flip |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {r.shape} | {r.n} | {r.coverage:.1%} | {1 - r.coverage:.1%} | {r.error_sign_flip:.1%} | {floor(r.n):.3f} "
        f"| {r.family_error_t:.1%} | {r.family_error_sign_flip:.1%} |"
        for r in rows
    ]
    return "\n".join(lines).replace("%", " %")


def run() -> None:
    """Print the table of `analysis/README.md`."""
    rows = [simulate(shape, n, _NUM_STUDIES, seed=n) for shape in ("normal", "skewed") for n in UNITS]
    print(f"{_NUM_STUDIES:,} studies per line, {NUM_CONTRASTS} contrasts each, no true difference")
    print(table(rows))


if __name__ == "__main__":
    run()
