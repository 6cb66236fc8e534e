# %% [markdown]
# # Components
#
# Which component of the criterion makes the difference, and what it does to the entropy.
# Nothing but figures is written: to `FIGURES_DIR`, or `report/figures` of the study. Set `STUDY_DIR` to the directory
# of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.accuracies import epochs_frame, units_frame
from analysis.contrasts import contrasts_frame, declared_contrasts, primary_column
from analysis.figures.epochs import epochs
from analysis.figures.paired_differences import paired_differences
from analysis.figures.slopes import slopes
from analysis.frames import load_plan, runs_frame, trials_frame
from analysis.gallery import Gallery
from analysis.histories import bands_frame, confirm_histories
from analysis.reasons import why_no_contrasts, why_no_values

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
gallery = Gallery.of(study_root, plan.study, "02_components", runs)
colours, primary = style.arm_colours(plan), primary_column(plan)
confirmed = runs.loc[runs["phase"] == "confirm", "run_id"]
ablations = {arm.name for arm in plan.arms if arm.parent is not None}
print(f"{plan.study}: {plan.question}")

# %% [markdown]
# ## Contrasts with the ablations
#
# Those of the declared contrasts in which a component is left out; p-values are corrected over the whole family.

# %%
chosen = [contrast for contrast in declared_contrasts(runs, plan) if {contrast.left, contrast.right} & ablations]
nothing = why_no_contrasts(plan, "is with an ablation")
figure = paired_differences(chosen, metric=plan.primary, colours=colours, unit=plan.unit, nothing=nothing)
gallery.add("component_differences", figure, confirmed)

# %%
contrasts_frame(chosen)

# %%
pairs = [(contrast.left, contrast.right) for contrast in chosen]
values = units_frame(runs, plan, primary)
figure = slopes(values, pairs, metric=plan.primary, colours=colours, unit=plan.unit, nothing=nothing)
gallery.add("component_slopes", figure, confirmed)

# %% [markdown]
# ## Accuracy and marginal entropy against continued epochs

# %%
accuracies = epochs_frame(runs, plan, primary)
entropies = bands_frame(confirm_histories(study_root, runs), plan)
nothing = why_no_values(runs, plan.primary)
figure = epochs(accuracies, entropies, metric=plan.primary, colours=colours, unit=plan.unit, nothing=nothing)
gallery.add("epochs", figure, confirmed)
