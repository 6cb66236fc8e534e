"""Before anything is spent: can the declared test say anything with so many units, and how many would it take?"""

from __future__ import annotations

import math

from study.plan.model import Plan

ALPHA = 0.05


def num_units(plan: Plan) -> int:
    """How many units every contrast is judged on."""
    seeds = plan.confirm
    return len(seeds.base_seeds if plan.unit == "base" else seeds.continuation_seeds)


def smallest_p(num_pairs: int) -> float:
    """The smallest two-sided p of an exact sign-flip test: two of the 2^n equally likely sign patterns.

    R. A. Fisher, "The Design of Experiments" (1935), §21.
    """
    return 2.0 / 2.0**num_pairs


def units_needed(num_contrasts: int) -> int:
    """The fewest units with which the smallest p of an exact test stays below 5 % after Holm's correction."""
    return math.ceil(math.log2(2 * max(1, num_contrasts) / ALPHA) + 1e-12)


def warnings(plan: Plan) -> list[str]:
    """What a user should know about seeds and tests before spending anything."""
    n, contrasts, unit = num_units(plan), len(plan.contrasts), plan.unit
    if not contrasts:
        return ["The plan declares no contrasts, so nothing will be tested."]
    needed = units_needed(contrasts)
    level = f"confirm.{unit}_seeds"
    if n == 1:
        return [f"With one {unit} seed there is no interval and no test; put more into {level}."]
    reach = f"{n} pairs cannot reach p < {ALPHA:g} in an exact sign-flip test: its smallest p is {smallest_p(n):.3g}"
    holm = f", {min(1.0, contrasts * smallest_p(n)):.3g} after Holm over {contrasts} contrasts" if contrasts > 1 else ""
    if n >= needed:
        return []
    if plan.test == "sign_flip":
        return [f"{reach}{holm}. Put at least {needed} seeds into {level}, or declare test: paired_t."]
    sentence = (
        f"{n} pairs: the declared paired t test can find a difference, but leans on normal differences; an exact test"
        f" of this family could not (smallest p {smallest_p(n):.3g}{holm}). It needs {needed} seeds in {level}."
    )
    return [sentence]
