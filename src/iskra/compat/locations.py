"""`map_location`: to which device a checkpoint's storages go."""

import functools

from iskra.core import device
from iskra.tensor import Storage, wrap
from iskra.tensor.tensor import storage_of


def mover(map_location):
    """A function of (read, location) that gives the `Storage`, or None for the meta device.

    `read` is called for the bytes, on the CPU, only if they are needed; `location` is the name
    of the device from which they were saved.
    Raises TypeError for a `map_location` of an unknown kind.
    """
    if map_location is None:
        return _restore
    if isinstance(map_location, dict):
        return lambda read, location: _restore(read, map_location.get(location, location))
    if isinstance(map_location, (str, device)):
        return functools.partial(_to, str(map_location))
    if callable(map_location):
        return functools.partial(_by_function, map_location)
    raise TypeError(
        "load: map_location must be a device, its name, a dict or a function, not "
        f"{type(map_location).__name__}"
    )


def _to(target, read, location):
    return _restore(read, target)


def _by_function(function, read, location):
    storage = Storage(read())
    result = function(storage, location)
    if result is None:
        return _restore(lambda: storage.array, location)
    if not isinstance(result, Storage):
        raise TypeError(
            "load: the map_location function must return a storage or None, not "
            f"{type(result).__name__}"
        )
    return result


def _restore(read, location):
    """The storage on the device called `location`."""
    kind = str(location).partition(":")[0]
    if kind == "cpu":
        return Storage(read())
    if kind == "meta":
        return None
    if kind != "cuda":
        raise RuntimeError(
            f"load: the file's tensors were on {location!r}, a device that is not known here; "
            "load them with map_location='cpu'"
        )
    try:
        return storage_of(wrap(read()).to(str(location)))
    except (RuntimeError, ImportError) as error:
        raise RuntimeError(
            f"load: cannot put the file's tensors on {location!r}: {error}. To load them on the "
            "CPU, pass map_location='cpu'"
        ) from error
