"""Several processes train one run: the attempt's own process is rank 0 and starts the others on the same machine.

They are told who they are as torchrun tells it: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. Only rank 0
writes into the attempt's folder; the others send what they say to its log. They leave when rank 0 leaves, whatever the
reason: between two steps all ask each other whether to stop, and a lost connection ends the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # in the documentation, not in `__all__`

from study.errors import DataError
from study.journal.files import read_json
from study.paths import AttemptPaths
from study.plan.spec import RunSpec
from study.training.assemble import set_numerics
from study.training.loop import check_finite
from study.worker.preemption import StopWatch, stop_together
from study.worker.workplace import Workplace, newest_checkpoint

_HOST = "127.0.0.1"
_ROOT = Path(__file__).parents[2]
_TIMEOUT = timedelta(minutes=30)  # of a collective call: as long as the slowest rank may take for its data
_PATIENCE_S = 60.0
_FLUSH_EVERY = 10
_DATA_ERROR = "data error"  # what a rank tells rank 0 before it leaves


@contextmanager
def teammates(work: Workplace) -> Iterator[None]:
    """Inside, the process group of this attempt is open, with this process as rank 0.

    Raises:
        DataError: another rank could not read its data.
    """
    size = work.num_processes
    if size == 1:
        yield
        return
    store = TCPStore(_HOST, 0, size, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)
    others = [_start(work.attempt, rank, size, store.port) for rank in range(1, size)]
    try:
        _join(work.device, store, 0, size)
        yield
        distributed.destroy_process_group()
        for process in others:
            process.wait(_PATIENCE_S)
    except Exception as error:
        if store.check([_DATA_ERROR]):  # the lost connection is but what became of it
            raise DataError(store.get(_DATA_ERROR).decode()) from error
        raise
    finally:
        for process in others:
            if process.poll() is None:
                process.kill()
                process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def begin(attempt_dir: str) -> None:
    """Be the rank that the environment names, and train along with rank 0."""
    _die_with_parent()
    paths = AttemptPaths(Path(attempt_dir))
    watch = StopWatch(paths)
    watch.install()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    spec = RunSpec.from_json(read_json(paths.run.spec))
    set_numerics(spec.training["numerics"])
    work = Workplace.open(paths, spec, read_json(paths.job)["request"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, size, is_master=False, timeout=_TIMEOUT)
    _join(work.device, store, rank, size)
    try:
        _follow(work, watch.must_stop)
    except DataError as error:
        store.set(_DATA_ERROR, str(error))
        raise
    distributed.destroy_process_group()


def _follow(work: Workplace, wants_to_stop: Callable[[], bool]) -> None:
    """Do the same steps as rank 0, and keep nothing."""
    from study.worker.train import prepare

    trainer = prepare(work, newest_checkpoint(work.attempt))
    for records in trainer.run(flush_every=_FLUSH_EVERY, must_stop=stop_together(wants_to_stop, work.device)):
        check_finite(records)


def _start(attempt: AttemptPaths, rank: int, size: int, port: int) -> subprocess.Popen[bytes]:
    place = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": _HOST,
        "MASTER_PORT": port,
    }  # fmt: skip
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command: Sequence[str] = [sys.executable, "-m", "study.worker.ranks", str(attempt.root)]
    environment = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in place.items()}}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _join(device: torch.device, store: Store, rank: int, size: int) -> None:
    if device.type == "cpu":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)


def _die_with_parent() -> None:
    """Ask Linux for SIGKILL when rank 0 is gone: a collective call on a GPU would wait for it for a long time."""
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    begin(sys.argv[1])
