"""One file = one downstream protocol; the file name is its YAML name."""
