"""Files that are written whole or not at all."""

import contextlib
import io
import os
import secrets
import stat


@contextlib.contextmanager
def replacing(path):
    """A binary stream whose contents take the place of `path` when the block ends well.

    They are written to a new file beside it, forced to the disk and then given its name: after
    a crash, or an error in the block, `path` holds what it held before. What is no regular file
    (a pipe, a device) is written directly.
    """
    path = os.path.realpath(os.fsdecode(path))  # through links: the link itself stays
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as stream:
            yield stream
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode(path):
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder):
    """Make the new name last, too, on systems where folders can be synchronised."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_path(f):
    """Whether `f` names a file, rather than being one."""
    return isinstance(f, (str, bytes, os.PathLike))


def check_readable(f):
    """Raise AttributeError unless `f` is a file that can be read and sought in."""
    for method in ("read", "readline", "tell", "seek"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}': load needs a path, or "
                "a binary file that can seek; read the data into an io.BytesIO first"
            )
    if hasattr(f, "seekable") and not f.seekable():
        raise io.UnsupportedOperation(
            "load: the file cannot seek; read the data into an io.BytesIO first"
        )
