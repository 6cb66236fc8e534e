"""One file = one base method; the file name is its YAML name."""
