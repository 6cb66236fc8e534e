"""One figure a file: data in, matplotlib Figure out."""
