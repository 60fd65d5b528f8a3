"""Tuples with named fields, as operators with several results return them."""

from operator import itemgetter

from iskra.core.naming import prefix


class ReturnType(tuple):
    """A tuple with named fields, as operators with several results return it."""

    __slots__ = ()
    _fields = ()

    def __repr__(self):
        fields = ",\n".join(f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True))
        return f"{prefix()}.return_types.{type(self).__name__}(\n{fields})"

    def __reduce__(self):
        return tuple, (tuple(self),)


_return_types = {}


def return_type(op):
    """The class of an operator's named results."""
    return named_results(op.name, op.result)


def named_results(name, fields):
    """The class of results called `fields`, made on first use."""
    found = _return_types.get(name)
    if found is None:
        members = {field: property(itemgetter(i)) for i, field in enumerate(fields)}
        members |= {"__slots__": (), "_fields": fields}
        # `max_along` is the part of `max` that returns two.
        found = type(name.removesuffix("_along"), (ReturnType,), members)
        _return_types[name] = found
    return found
