"""One training loop for every method and criterion: pre-training and continuation differ in their settings alone."""
