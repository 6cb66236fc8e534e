"""Whether the kernel has ended a process because its memory was used up: an exit by SIGKILL alone does not say."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def num_oom_kills(own: Path = _OWN, root: Path = _ROOT) -> int:
    """How many processes of this process's memory cgroup the kernel has killed for want of memory; 0 if it is silent.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.events) and cgroup-v1/memory.html
    (memory.oom_control), both with a line `oom_kill <number>`.

    Args:
        own: what says which cgroup it is, one line `<number>:<controllers>:<path>` per hierarchy.
        root: where cgroups are mounted.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return 0
    files = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if "memory" in controllers.split(","):
            files.append(root / "memory" / path.lstrip("/") / "memory.oom_control")
        elif not controllers:
            files += [base / path.lstrip("/") / "memory.events" for base in (root, root / "unified")]
    return max((count for file in files if (count := _count(file)) is not None), default=0)


def _count(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next(
        (int(number) for name, _, number in (line.partition(" ") for line in lines) if name == "oom_kill"), None
    )
