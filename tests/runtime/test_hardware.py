"""What the operating system says of the machine, right, wrong or not at all."""

import pytest

from iskra.runtime.hardware import DEFAULT, last_level_cache


def describe(root, **caches):
    """Files as Linux has them: a folder for each cache of the first CPU, with these contents."""
    for name, files in caches.items():
        folder = root / "sys/devices/system/cpu/cpu0/cache" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text + "\n")
    return root


def cache(level, size):
    return {"level": level, "size": size}


def test_the_last_level_counts(tmp_path):
    root = describe(tmp_path, index0=cache("1", "48K"), index1=cache("1", "32K"),
                    index3=cache("3", "16M"), index2=cache("2", "1024K"))
    assert last_level_cache(root) == 16 << 20


def test_without_a_third_level_the_second_is_the_last(tmp_path):
    root = describe(tmp_path, index0=cache("1", "64K"), index1=cache("2", "512K"))
    assert last_level_cache(root) == 512 << 10


@pytest.mark.parametrize("caches", [
    {}, {"index0": cache("1", "")}, {"index0": cache("one", "48K")}, {"index0": {"level": "1"}},
    {"index0": cache("3", "0K")},
])
def test_what_is_not_told_is_assumed(tmp_path, caches):
    assert last_level_cache(describe(tmp_path, **caches)) == DEFAULT


def test_this_machine():
    assert 1 << 17 <= last_level_cache() <= 1 << 32
