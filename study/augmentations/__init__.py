"""One file = one augmentation; the file name is its YAML name."""
