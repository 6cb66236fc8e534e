"""The families of components: folder under `study/` → the class in its `base.py` that components extend."""

FAMILIES = {
    "augmentations": "Augmentation",
    "backbones": "Backbone",
    "criteria": "Criterion",
    "datasets": "Dataset",
    "evaluations": "Evaluation",
    "methods": "Method",
    "pretrained": "Family",
}
