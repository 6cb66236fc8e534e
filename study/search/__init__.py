"""Choosing parameters: the only importer of Optuna. One search per arm, run by the orchestrator alone."""
