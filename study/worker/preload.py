"""What is imported once, before processes are forked, so that a run starts in milliseconds instead of seconds.

Importing is all it may do: a tensor operation or a question about accelerators in the parent would poison its children
(a parallel region hangs a child, CUDA refuses to initialise in a fork).
"""

import sklearn.linear_model
import torch._inductor  # what the first optimiser step and deterministic algorithms import, for two seconds

from study import registry
from study.provenance.identity import remember_all
from study.training import assemble, checkpoint, loop, representations
from study.worker import entry, evaluate, train

__all__ = ["assemble", "checkpoint", "entry", "evaluate", "loop", "representations", "sklearn", "torch", "train"]

for _family in ("augmentations", "backbones", "criteria", "datasets", "evaluations", "methods"):
    for _ in registry.usable(_family):
        pass  # what cannot be imported stops the runs that name it alone; the orchestrator has said so
remember_all()
