# %% [markdown]
# # Main results
#
# The tables and figures of one study, read from its journals.
# Nothing but figures is written: to `FIGURES_DIR`, or `report/figures` of the study. Set `STUDY_DIR` to the directory
# of another study; a study that is still running shows what it has.

# %%
import os
import sys
from pathlib import Path

sys.path.insert(0, str(next(f for f in (Path.cwd() / "_").parents if (f / "analysis/frames.py").is_file())))

from analysis import style
from analysis.accuracies import label_fractions_frame, units_frame
from analysis.contrasts import confirm_status, declared_contrasts, primary_column
from analysis.figures.label_fractions import label_fractions
from analysis.figures.paired_differences import paired_differences
from analysis.figures.slopes import slopes
from analysis.findings import caveats, findings
from analysis.frames import load_plan, runs_frame, trials_frame
from analysis.gallery import Gallery
from analysis.reasons import why_no_contrasts, why_no_fractions
from analysis.tables import budget_table, comparison_table, contrasts_table, winners_table

study_root = Path(sys.path[0]) / os.environ.get("STUDY_DIR", "studies/fashion-mnist-ablation")
plan, runs, trials = load_plan(study_root), runs_frame(study_root), trials_frame(study_root)
gallery = Gallery.of(study_root, plan.study, "01_main_results", runs)
colours, primary = style.arm_colours(plan), primary_column(plan)
confirmed = runs.loc[runs["phase"] == "confirm", "run_id"]
print(f"{plan.study}: {plan.question}")

# %% [markdown]
# ## How far the confirm runs have got

# %%
confirm_status(runs, plan)

# %% [markdown]
# ## Test accuracy (%)
#
# Mean ± half-width of the 95 % t interval over units.

# %%
comparison_table(runs, plan)

# %%
fractions = label_fractions_frame(runs, plan)
evaluation = plan.primary.split("/")[0]
figure = label_fractions(
    fractions, reference=plan.reference, metric=evaluation, colours=colours, unit=plan.unit,
    nothing=why_no_fractions(runs, plan),
)  # fmt: skip
gallery.add("label_fractions", figure, confirmed)

# %% [markdown]
# ## Declared contrasts on the primary metric
#
# Paired differences per unit; p after Holm's correction over the whole family.

# %%
contrasts = declared_contrasts(runs, plan)
figure = paired_differences(
    contrasts, metric=plan.primary, colours=colours, margin_pp=plan.equivalence_margin_pp, unit=plan.unit,
    nothing=why_no_contrasts(plan),
)  # fmt: skip
gallery.add("paired_differences", figure, confirmed)

# %%
values = units_frame(runs, plan, primary)
nothing = why_no_contrasts(plan)
figure = slopes(values, plan.contrasts, metric=plan.primary, colours=colours, unit=plan.unit, nothing=nothing)
gallery.add("slopes", figure, confirmed)

# %%
contrasts_table(runs, plan)

# %%
print(*findings(contrasts, plan), *caveats(runs, trials, plan), sep="\n")

# %% [markdown]
# ## What was tuned, and what it cost

# %%
winners_table(trials, plan)

# %%
budget_table(runs, trials, plan)
