"""`map_location`: to which device a checkpoint's storages go."""

import bisect
import functools

from iskra.core import device
from iskra.tensor import Storage, wrap
from iskra.tensor.pickling import rebuild_meta_storage
from iskra.tensor.tensor import device_of, storage_of

_packages = []


def register_package(priority, tagger, deserializer):
    """Teach `save` and `load` a name for the place of storages.

    Args:
        priority: packages with a lower number are asked first.
        tagger: a function of a storage: the name to save, or None to let others answer.
        deserializer: a function of a storage and a saved name that is not known here: the
            storage to use, or None.

    As PyTorch's `torch.serialization.register_package`.
    """
    bisect.insort(_packages, (priority, tagger, deserializer), key=lambda package: package[0])


def location_of(storage):
    """The name of the place where a storage is, as `save` writes it."""
    for _, tagger, _ in _packages:
        name = tagger(storage)
        if name is not None:
            return name
    return str(device_of(storage.array))


def mover(map_location):
    """A function of (read, nbytes, location) that gives the `Storage`.

    `read` is called for the bytes, on the CPU, only if they are needed; `location` is the name
    of the device from which they were saved.
    Raises TypeError for a `map_location` of an unknown kind.
    """
    if map_location is None:
        return _restore
    if isinstance(map_location, dict):
        return lambda read, nbytes, location: _restore(
            read, nbytes, map_location.get(location, location)
        )
    if isinstance(map_location, (str, device)):
        return functools.partial(_to, str(map_location))
    if callable(map_location):
        return functools.partial(_by_function, map_location)
    raise TypeError(
        "load: map_location must be a device, its name, a dict or a function, not "
        f"{type(map_location).__name__}"
    )


def _to(target, read, nbytes, location):
    return _restore(read, nbytes, target)


def _by_function(function, read, nbytes, location):
    storage = Storage(read())
    result = function(storage, location)
    if result is None:
        return _restore(lambda: storage.array, nbytes, location)
    if not isinstance(result, Storage):
        raise TypeError(
            "load: the map_location function must return a storage or None, not "
            f"{type(result).__name__}"
        )
    return result


def _restore(read, nbytes, location):
    """The storage on the device called `location`."""
    kind = str(location).partition(":")[0]
    if kind == "cpu":
        return Storage(read())
    if kind == "meta":
        return rebuild_meta_storage(nbytes)
    if kind != "cuda":
        for _, _, deserializer in _packages:
            result = deserializer(Storage(read()), location)
            if result is not None:
                return result
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
