"""Several processes train one run: the attempt's own process is rank 0 and starts the others on the same machine.

They are told who they are as torchrun tells it: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. Only rank 0
writes into the attempt's folder; the others send what they say to its log. They leave when rank 0 leaves, whatever the
reason: between two steps all ask each other whether to stop, and a lost connection ends the rest.

On several machines rank 0 leaves in the attempt's folder where it can be reached, and a task on each of the others,
which `stand_by` is, starts the ranks of its machine.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # in the documentation, not in `__all__`

from study.errors import DataError
from study.journal.files import read_json, read_json_or_none, write_json
from study.paths import AttemptPaths
from study.plan.spec import RunSpec
from study.provenance.identity import training_code
from study.training.assemble import set_numerics
from study.training.loop import check_finite
from study.worker.own_code import require_same_code
from study.worker.preemption import StopWatch, stop_together
from study.worker.workplace import Workplace, newest_checkpoint

_LOOPBACK = "127.0.0.1"
_ROOT = Path(__file__).parents[2]
_TIMEOUT = timedelta(minutes=30)  # of a collective call: as long as the slowest rank may take for its data
_PATIENCE_S = 60.0
_LOOK_EVERY_S = 1.0
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
    host = _LOOPBACK if work.num_nodes == 1 else socket.gethostname()
    store = TCPStore(host, 0, size, is_master=True, wait_for_workers=False, timeout=_TIMEOUT)
    master, per_node = (host, store.port), size // work.num_nodes
    others = [_start(work.attempt, rank, rank, (size, per_node), master) for rank in range(1, per_node)]
    os.environ["LOCAL_WORLD_SIZE"] = str(per_node)  # as the others are told
    try:
        if work.num_nodes > 1:
            write_json(work.attempt.rendezvous, {"host": host, "port": store.port})
        with _left_with(others):
            _join(work.device, store, 0, size, host)
            yield
            distributed.destroy_process_group()
        for process in others:
            process.wait(_PATIENCE_S)
    except Exception as error:
        if store.check([_DATA_ERROR]):  # the lost connection is but what became of it
            raise DataError(store.get(_DATA_ERROR).decode()) from error
        raise
    finally:
        os.environ.pop("LOCAL_WORLD_SIZE", None)
        for process in others:
            if process.poll() is None:
                process.kill()
                process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()


@contextmanager
def _left_with(others: Sequence[subprocess.Popen[bytes]], patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Inside, this process ends when another one has failed and it does not notice by itself.

    Gloo says at once that a connection is lost; a collective call of NCCL waits until it times out.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY_S):
            codes = [code for process in others if (code := process.poll())]
            if codes and not done.wait(patience_s):
                sys.stderr.write(f"a rank ended with exit code {codes[0]}, and rank 0 still waits for it\n")
                sys.stderr.flush()
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def stand_by(attempt_dir: str) -> int:
    """Be the task of another machine of the job: its ranks begin when rank 0 is there; leave when that has left.

    Warnings go to the ranks, which agree on when to stop. When rank 0 is killed, it is SLURM that ends this task.

    Returns:
        Exit code: 0, or 1 when a rank of this machine has failed.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    paths = AttemptPaths(Path(attempt_dir))
    job = read_json(paths.job)
    size = job["request"]["num_processes"]
    per_node = size // job["job"]["nodes"]
    first = int(os.environ["SLURM_PROCID"]) * per_node
    ranks: list[subprocess.Popen[bytes]] = []
    while not paths.left.exists():
        place = None if ranks else read_json_or_none(paths.rendezvous)
        if place is not None:
            master = (place["host"], place["port"])
            ranks = [_start(paths, first + i, i, (size, per_node), master) for i in range(per_node)]
        if any(process.poll() for process in ranks):
            return 1
        time.sleep(_LOOK_EVERY_S)
    return int(any(process.wait(_PATIENCE_S) for process in ranks))


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
    job = read_json(paths.job)
    require_same_code(spec, job)
    work = Workplace.open(paths, spec, job)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, size, is_master=False, timeout=_TIMEOUT)
    _join(work.device, store, rank, size, host)
    try:
        _follow(work, watch.must_stop)
    except DataError as error:
        store.set(_DATA_ERROR, str(error))
        raise
    distributed.destroy_process_group()


def _follow(work: Workplace, wants_to_stop: Callable[[], bool]) -> None:
    """Do the same steps as rank 0, and keep nothing."""
    from study.worker.train import prepare

    trainer = prepare(work, newest_checkpoint(work.attempt, training_code(work.spec.training).hash))
    for records in trainer.run(flush_every=_FLUSH_EVERY, must_stop=stop_together(wants_to_stop, work.device)):
        check_finite(records)


def _start(
    attempt: AttemptPaths, rank: int, local_rank: int, sizes: tuple[int, int], master: tuple[str, int]
) -> subprocess.Popen[bytes]:
    """Start a rank; `sizes` are the numbers of processes in all and on this machine, `master` is where rank 0 is."""
    place = {
        "RANK": rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": sizes[0], "LOCAL_WORLD_SIZE": sizes[1],
        "MASTER_ADDR": master[0], "MASTER_PORT": master[1],
    }  # fmt: skip
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command: Sequence[str] = [sys.executable, "-m", "study.worker.ranks", str(attempt.root)]
    environment = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in place.items()}}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _join(device: torch.device, store: Store, rank: int, size: int, host: str) -> None:
    if device.type == "cpu" and host == _LOOPBACK:
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
