"""An ablation-study framework for continued self-supervised pre-training."""
