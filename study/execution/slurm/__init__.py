"""SLURM: what it says about jobs (`state`), what a cluster offers (`cluster`, `validation`), and two ways to use it.

`workers` keeps allocations that execute one attempt after another: whichever is free first takes the next order from
its `pool`'s line. `jobs` submits one job per attempt. Both leave requeueing to the orchestrator: submitit writes a
failed result for a job that SLURM has requeued, calls PREEMPTED "not done" for ever and SUSPENDED "done", so its
results are never read; it writes submission scripts and starts Python in the job, no more.
"""
