"""What a study costs in time of its slots and in disk, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from study.amounts import duration, size
from study.orchestration.forecast import Forecast
from study.orchestration.outlook import PhaseOutlook, Slots
from study.orchestration.room import bytes_at_once, bytes_kept, bytes_of_weights
from study.paths import HomePaths
from study.plan.model import Phase, Plan


def speed_source(images_per_second: float | None) -> str:
    """Where the times come from."""
    if images_per_second is None:
        return "timed on this machine just now"
    return f"at {images_per_second:g} images per second"


def seconds_left(outlook: Mapping[Phase, PhaseOutlook], expected: Forecast) -> dict[Phase, float]:
    """Slot-seconds of what is left, by phase; runs that are only evaluated cost no training."""
    return {
        phase: one.num_to_train * (expected.training[phase] + expected.evaluating[phase])
        + one.num_to_evaluate * expected.evaluating[phase]
        for phase, one in outlook.items()
    }


def describe_time(
    outlook: Mapping[Phase, PhaseOutlook], expected: Forecast, slots: Slots, source: str
) -> Iterator[str]:
    """Time of a slot, phase by phase, and of all slots; a slot is a GPU where runs have one."""
    left = seconds_left(outlook, expected)
    parts = ", ".join(f"{phase} {duration(left[phase])}" for phase in Phase if outlook[phase].num_left)
    total = sum(left.values())
    yield f"Time of one slot (GPU time where a slot is a GPU): {parts}; all {duration(total)} ({source})."
    longest = max(
        expected.training[phase] + expected.evaluating[phase] for phase, one in outlook.items() if one.num_left
    )
    yield f"Expected: {duration(max(total / slots.number, longest))} with {slots}."


def describe_disk(
    plan: Plan, home: HomePaths, outlook: Mapping[Phase, PhaseOutlook], slots: Slots, num_decoded_bytes: int
) -> str:
    """What the runs that are left will take, and decoded images."""
    weights = size(bytes_of_weights(plan))
    runs = f"{size(bytes_kept(plan, outlook) + bytes_at_once(plan, outlook, slots.number))} in {home.root}"
    images = f", {size(num_decoded_bytes)} for decoded images" if num_decoded_bytes else ""
    return f"Disk: {runs} for what is left (weights of {weights} per run, and checkpoints){images}."
