"""Services below tensors: random streams on arrays."""
