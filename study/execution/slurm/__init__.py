"""SLURM: what it says about jobs, what a cluster offers, and attempts inside of its allocations."""
