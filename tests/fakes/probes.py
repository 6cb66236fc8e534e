"""What a test lets a forked process tell about itself; imports nothing that the fork server should have loaded."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def describe_child(answer: str) -> None:
    """Write down what a child of the fork server finds when it begins."""
    begin = time.perf_counter()
    modules = sorted(sys.modules)
    import torch

    torch_s = time.perf_counter() - begin
    state = {
        "modules": modules,
        "import_torch_s": torch_s,
        "is_cuda_initialised": torch.cuda.is_initialized(),
        "server": os.getppid(),
    }
    Path(answer).write_text(json.dumps(state), encoding="utf-8")
