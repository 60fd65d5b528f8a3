"""Error classes of our own, where Python has none that fits."""


class LinAlgError(RuntimeError):
    """A decomposition or a solver failed for numerical reasons; offered as `linalg.LinAlgError`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.LinAlgError.html
    """
