"""What runs on a compute node: it knows one attempt's directory and the shared file system, nothing else."""
