"""Which process is this? Host, boot and start time, so that a recycled pid is not mistaken for its predecessor."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_SAME_START_S = 0.5


def this_process() -> dict[str, Any]:
    """Identity of the calling process: `host`, `boot_id`, `pid`, `start_time` (seconds since the boot)."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "boot_id": boot_id(), "pid": pid, "start_time": _start_time(pid)}


def is_on_this_host(process: Mapping[str, Any]) -> bool:
    """Whether the identity belongs to this machine."""
    return bool(process.get("host") == socket.gethostname())


def is_alive(process: Mapping[str, Any]) -> bool:
    """Whether a process of this host still runs; False after a reboot, for a recycled pid, and for a zombie."""
    if process.get("boot_id") != boot_id():
        return False
    try:
        pid = int(process["pid"])
        same = abs(_start_time(pid) - float(process["start_time"])) < _SAME_START_S
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start_time(pid: int) -> float:
    """Seconds from the boot to the start of a process.

    The kernel's own count: seconds since the epoch would move when somebody sets the clock, and then a living process
    would look like another one.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        ticks = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError) as error:
        if Path("/proc/self/stat").exists():
            raise psutil.NoSuchProcess(pid) from error
        return psutil.Process(pid).create_time() - psutil.boot_time()  # no /proc
    return int(ticks) / os.sysconf("SC_CLK_TCK")


@cache
def boot_id() -> str:
    """Changes when the machine boots."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


@cache
def cpu_model() -> str:
    """Name of the CPU model: results are bit-identical only on equal models."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def num_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
