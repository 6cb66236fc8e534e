# %% [markdown]
# # Protocol audit
#
# Whether every arm had the same chances: budget, timeline, what is missing, what ended otherwise.
# Nothing but figures is written: to `FIGURES_DIR`, or `report/figures` of the study. Set `STUDY_DIR` to the directory
# of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.contrasts import confirm_status
from analysis.figures.budget import budget
from analysis.figures.timeline import timeline
from analysis.findings import caveats
from analysis.frames import load_plan, runs_frame, trials_frame
from analysis.gallery import Gallery
from analysis.tables import budget_table
from analysis.timeline import attempts_frame, spending_frame

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
gallery = Gallery.of(study_root, plan.study, "05_protocol_audit", runs)
colours = style.arm_colours(plan)
attempts = attempts_frame(study_root, plan)
print(f"{plan.study}: {plan.question}")

# %%
print(*caveats(runs, trials, plan), sep="\n")

# %%
confirm_status(runs, plan)

# %%
budget_table(runs, trials, plan)

# %%
gallery.add("budget", budget(spending_frame(attempts), colours=colours), attempts["run_id"])

# %%
gallery.add("timeline", timeline(attempts, colours=colours), attempts["run_id"])
