"""One file = one image encoder; the file name is its YAML name."""
