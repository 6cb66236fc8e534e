"""Journals: the files of a run are the truth; searches, MLflow and tables are views that can be rebuilt.

Other records of a run, all JSON objects written once:

    trained.json    {"schema_version", "attempt", "step", "weights_sha256", "code", "cpu_s", "wall_s"}
    evaluations/<key>.json
                    {"schema_version", "evaluation": {"name", "params"}, "split", "weights_sha256",
                     "metrics": {"top1_1pct": 70.9, …}, "unit": "percent", "cpu_s", "t", "attempt",
                     and of evaluations that have more to say than numbers "details": {…}}
    <study>/search/<arm>/0003.json
                    {"schema_version", "arm", "number", "params": {dotted name: value}, "run_ids": […],
                     "state": "running" | "complete" | "infeasible" | "failed", "objective": number or null}
"""
