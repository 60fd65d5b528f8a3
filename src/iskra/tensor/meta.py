"""`MetaArray`: an array with shape, strides and dtype but no data, for the ``meta`` device."""


class MetaArray:
    """Stands where a tensor's ndarray would; operators run on it to learn shapes."""

    __slots__ = ("shadow",)
