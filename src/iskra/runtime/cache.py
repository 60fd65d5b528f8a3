"""The kernel cache on disk: compiled objects, named by the hash of all that went into them.

A broken cache is never an error. Where a folder cannot be made, read or written, kernels are
compiled again; a file that is cut short or altered is noticed, removed and compiled again.

Environment: ``ISKRA_CACHE_DIR`` (the folder; empty: no cache), ``ISKRA_CACHE_SIZE`` (MiB, 256;
0: no cache).
"""

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

# Goes up whenever the meaning of a file changes; part of every key.
FORMAT = 1

_MAGIC = b"iskra-object-%03d\n" % FORMAT
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_SUFFIX = ".kernel"
_MEBIBYTE = 1 << 20
# How stale a file's time of last use may be; saves a write at nearly every hit.
_STALE = 3600.0
# Temporary files older than this were left by a writer that died.
_ABANDONED = 600.0


def key_of(*parts):
    """Return the key of an object made from `parts` (strings): a SHA-256 in hexadecimal.

    >>> key_of("a", "bc") == key_of("ab", "c")
    False
    """
    digest = hashlib.sha256(_MAGIC)
    for part in parts:
        data = part.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


class ObjectCache:
    """Byte strings in a folder, by key; any number of processes may read and write at once.

    folder: a path, made when first needed; None for a cache that holds nothing.
    limit: the size in bytes beyond which the files used longest ago are removed.
    """

    def __init__(self, folder, limit=256 * _MEBIBYTE):
        self.folder = None if folder is None else Path(folder)
        self.limit = limit

    def get(self, key):
        """Return the bytes put under `key`, or None."""
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            # Not to wait for a writer, should it be a pipe.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                # Its content will be executed, so it must come from this user or the system.
                if status.st_uid not in (os.geteuid(), 0) or not stat.S_ISREG(status.st_mode):
                    return None
                data = file.read() if status.st_size <= self.limit else b""
        except OSError:
            return None
        payload = data[_HEADER:]
        if data[:_HEADER] != _MAGIC + hashlib.sha256(payload).digest():
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if time.time() - status.st_mtime > _STALE:
            with contextlib.suppress(OSError):
                os.utime(path)
        return payload

    def put(self, key, payload):
        """Keep `payload` under `key`, if that is possible; readers never see half a file."""
        if self.folder is None:
            return
        data = _MAGIC + hashlib.sha256(payload).digest() + payload
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(key), data)
            # One key in sixteen asks for a look at the whole folder: rarely, but in every
            # program's life, however few kernels each of them compiles.
            if key.startswith("0"):
                self.prune()
        except OSError:
            pass

    def _path(self, key):
        return self.folder / (key + _SUFFIX)

    def _write(self, path, data):
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def prune(self):
        """Remove the files used longest ago until at most three quarters of `limit` is taken."""
        files, now = [], time.time()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX):
                        files.append((status.st_mtime, status.st_size, entry.path))
                    elif entry.name.endswith(".tmp") and now - status.st_mtime > _ABANDONED:
                        os.unlink(entry.path)
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in sorted(files):
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= self.limit * 3 // 4:
                break


def folder_from(environment):
    """Return the cache's folder for these environment variables; None: there shall be no cache."""
    named = environment.get("ISKRA_CACHE_DIR")
    if named is not None:
        return Path(named).expanduser().absolute() if named.strip() else None
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore relative paths.
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return Path(base) / "iskra" if os.path.isabs(base) else None


def limit_from(environment):
    """Return the cache's size limit in bytes for these environment variables."""
    try:
        mebibytes = float(environment.get("ISKRA_CACHE_SIZE", ""))
        return int(min(max(mebibytes, 0.0), 1e9) * _MEBIBYTE)
    except ValueError:              # no number, or NaN
        return 256 * _MEBIBYTE


@functools.cache
def default_cache():
    """Return the process's cache, as the environment variables say at the first call."""
    try:
        folder, limit = folder_from(os.environ), limit_from(os.environ)
        return ObjectCache(folder if limit else None, limit)
    except (OSError, RuntimeError):        # no home folder, no current folder
        return ObjectCache(None)
