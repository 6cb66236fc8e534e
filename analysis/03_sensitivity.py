# %% [markdown]
# # Sensitivity
#
# How the searches' objective depends on what was tuned, on the validation split.
# Nothing but figures is written: to `FIGURES_DIR`, or `report/figures` of the study. Set `STUDY_DIR` to the directory
# of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.figures.importance import importance
from analysis.figures.weight_sensitivity import weight_sensitivity
from analysis.frames import load_plan, runs_frame, trials_frame
from analysis.gallery import Gallery
from analysis.importance import importance_frame
from analysis.reasons import why_no_trials
from analysis.sensitivity import sensitivity_frame
from analysis.tables import winners_table

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
gallery = Gallery.of(study_root, plan.study, "03_sensitivity", runs)
colours = style.arm_colours(plan)
tuned = runs.loc[runs["phase"] == "tune", "run_id"]
print(f"{plan.study}: {plan.question}")

# %%
points = sensitivity_frame(trials, plan)
figure = weight_sensitivity(points, objective=plan.tune.objective, nothing=why_no_trials(trials, plan))
gallery.add("weight_sensitivity", figure, tuned)

# %%
shares = importance_frame(trials, plan)
gallery.add("importance", importance(shares, objective=plan.tune.objective, colours=colours), tuned)

# %%
winners_table(trials, plan)
