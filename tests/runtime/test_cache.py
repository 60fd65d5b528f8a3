"""The kernel cache on disk: damage, crowds, missing folders and limits."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from iskra.runtime import cache

KEY = cache.key_of("some text")
SOURCES = os.pathsep.join(sys.path)


@pytest.fixture
def store(tmp_path):
    return cache.ObjectCache(tmp_path / "deep" / "er")


def files(store):
    return sorted(store.folder.iterdir())


def test_what_is_put_is_got(store):
    assert store.get(KEY) is None
    store.put(KEY, b"payload")
    store.put(cache.key_of("other"), b"")
    assert store.get(KEY) == b"payload"
    assert store.get(cache.key_of("other")) == b""
    store.put(KEY, b"again")
    assert store.get(KEY) == b"again"
    assert len(files(store)) == 2


def test_keys_tell_parts_apart():
    keys = {cache.key_of(*parts) for parts in (("ab",), ("a", "b"), ("", "ab"), ("ab", ""), ())}
    assert len(keys) == 5


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:5], lambda data: data[:-1], lambda data: data + b"\0",
    lambda data: data[:-1] + b"?", lambda data: b"?" + data[1:], lambda data: bytes(len(data)),
    lambda data: data.replace(b"001", b"000"),
])
def test_damaged_files_are_removed(store, damage):
    store.put(KEY, b"payload")
    (file,) = files(store)
    file.write_bytes(damage(file.read_bytes()))
    assert store.get(KEY) is None
    assert files(store) == []
    store.put(KEY, b"payload")
    assert store.get(KEY) == b"payload"


def test_files_of_other_users_are_not_trusted(store):
    store.put(KEY, b"payload")
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(files(store)[0], 65534, 65534)
    assert store.get(KEY) is None
    assert len(files(store)) == 1


def test_what_is_no_file_is_left_alone(store):
    store.put(KEY, b"payload")
    (file,) = files(store)
    file.unlink()
    os.mkfifo(file)     # to open it would wait for a writer
    assert store.get(KEY) is None
    file.unlink()
    file.symlink_to("/dev/zero")    # has no end
    assert store.get(KEY) is None
    assert file.is_symlink()
    store.put(KEY, b"payload")
    assert store.get(KEY) == b"payload"


def test_vast_files_are_removed_unread(store):
    store.put(KEY, b"payload")
    os.truncate(files(store)[0], 1 << 42)
    assert store.get(KEY) is None
    assert files(store) == []


@pytest.mark.parametrize("folder", ["file/below", "file", "/proc/iskra", "dangling/x", "a" * 300])
def test_folders_that_cannot_be_made(tmp_path, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "file" / "x")
    store = cache.ObjectCache(tmp_path / folder)
    store.put(KEY, b"payload")
    assert store.get(KEY) is None


def test_a_folder_that_cannot_be_written():
    # pytest's own folders are closed to other users, and root may write anywhere.
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        folder, user = Path(top) / "kernels", os.geteuid()
        store, other = cache.ObjectCache(folder), cache.key_of("other")
        store.put(KEY, b"payload")
        os.chmod(files(store)[0], 0o444)
        os.chmod(folder, 0o555)
        os.seteuid(user or 65534)
        try:
            store.put(other, b"other")
            assert store.get(KEY) == b"payload"
            assert store.get(other) is None
            assert len(files(store)) == 1
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o755)


def test_a_full_disk(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    store.put(KEY, b"payload")
    assert store.get(KEY) is None
    assert files(store) == []


def test_a_writer_that_is_interrupted_leaves_nothing(store, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, b"payload")
    assert files(store) == []


def test_no_folder_no_cache():
    store = cache.ObjectCache(None)
    store.put(KEY, b"payload")
    assert store.get(KEY) is None


def test_pruning_removes_what_was_used_longest_ago(store):
    store.limit = 10_000
    keys = [cache.key_of(str(i)) for i in range(20)]
    for age, key in enumerate(keys):
        store.put(key, bytes(1000))
        os.utime(store._path(key), (0, time.time() - 100 * age))
    size = sum(file.stat().st_size for file in files(store))
    assert size > store.limit
    store.prune()
    kept = [key for key in keys if store.get(key)]
    assert kept == keys[:len(kept)]
    assert 5 <= len(kept) <= 7                     # three quarters of the limit
    store.prune()
    assert len(files(store)) == len(kept)


def test_use_keeps_a_file_young(store):
    store.put(KEY, b"payload")
    old = time.time() - 1e6
    os.utime(files(store)[0], (old, old))
    store.get(KEY)
    assert files(store)[0].stat().st_mtime > old + 1e5


def test_putting_looks_at_the_size_now_and_then(store):
    store.limit = 50_000
    for i in range(400):
        store.put(cache.key_of(str(i)), bytes(1000))
    assert sum(file.stat().st_size for file in files(store)) < 2 * store.limit


def test_pruning_removes_what_dead_writers_left(store):
    store.put(KEY, b"payload")
    (store.folder / ".old.tmp").write_bytes(b"x")
    (store.folder / ".new.tmp").write_bytes(b"x")
    (store.folder / "somebody else's").write_bytes(b"x")
    for name in (".old.tmp", "somebody else's"):
        os.utime(store.folder / name, (0, 0))
    store.prune()
    assert {file.name for file in files(store)} == {
        f"{KEY}.kernel", ".new.tmp", "somebody else's"}


@pytest.mark.parametrize(("environment", "folder"), [
    ({"ISKRA_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
    ({"ISKRA_CACHE_DIR": "", "XDG_CACHE_HOME": "/c"}, None),
    ({"ISKRA_CACHE_DIR": " "}, None),
    ({"XDG_CACHE_HOME": "/c"}, "/c/iskra"),
    ({"XDG_CACHE_HOME": "relative"}, "~/.cache/iskra"),
    ({"XDG_CACHE_HOME": ""}, "~/.cache/iskra"),
    ({"ISKRA_CACHE_DIR": "~/k"}, "~/k"),
    ({}, "~/.cache/iskra"),
])
def test_the_folder(environment, folder):
    expected = folder and Path(folder).expanduser()
    assert cache.folder_from(environment) == expected


def test_no_home(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.folder_from({}) is None


@pytest.mark.parametrize(("text", "mebibytes"), [
    ("", 256), ("10", 10), ("0.5", 0.5), ("lots", 256), ("-3", 0), ("0", 0), ("inf", 1e9),
    ("nan", 256),
])
def test_the_limit(text, mebibytes):
    assert cache.limit_from({"ISKRA_CACHE_SIZE": text}) == mebibytes * 2**20
    assert cache.limit_from({}) == 256 * 2**20


def run(program, **environment):
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1", **environment})
    assert result.stderr == ""
    return result.stdout


LOADING = """
import ctypes, sys
from iskra.runtime import jit
for i in range(12):
    code = jit.load("define i64 @f() { ret i64 " + str(i) + " }")
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("f"))() == i
print("done")
"""


@pytest.mark.parametrize("folder", ["", "/proc/iskra", "kernels"])
def test_code_runs_with_and_without_a_folder(tmp_path, folder):
    path = folder if folder[:1] in ("", "/") else str(tmp_path / folder)
    for _ in range(2):
        assert run(LOADING, ISKRA_CACHE_DIR=path) == "done\n"
    assert len(list(tmp_path.glob("kernels/*.kernel"))) == (12 if folder == "kernels" else 0)


def test_code_runs_without_a_home(tmp_path):
    environment = {"HOME": "", "XDG_CACHE_HOME": str(tmp_path), "ISKRA_CACHE_SIZE": "0"}
    assert run("import os; os.environ.pop('HOME')\n" + LOADING, **environment) == "done\n"
    assert list(tmp_path.iterdir()) == []


def test_ten_processes_at_once(tmp_path):
    environment = {**os.environ, "PYTHONPATH": SOURCES, "ISKRA_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", LOADING], env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(10)]
    assert [process.communicate()[0] for process in processes] == ["done\n"] * 10
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 12
    for file in kept:
        data = file.read_bytes()
        header = data.index(b"\n") + 1
        digest, payload = data[header:header + 32], data[header + 32:]
        assert hashlib.sha256(payload).digest() == digest
