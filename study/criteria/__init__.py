"""One file = one criterion; the file name is its YAML name."""
