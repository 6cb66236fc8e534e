"""Functions of tensors that several components share."""
