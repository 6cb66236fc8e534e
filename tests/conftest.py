"""One thread for all tests: with as many as there are cores, small tensor operations spend their time on waiting."""

import torch

torch.set_num_threads(1)
