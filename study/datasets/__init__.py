"""One file = one dataset; the file name is its YAML name."""
