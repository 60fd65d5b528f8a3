"""safetensors: round trips, and files exchanged with its own library and with PyTorch."""

import numpy as np
import pytest

import iskra
from iskra.compat.safetensors import load, load_file, save, save_file
from iskra.core import dtypes
from iskra.nn import Parameter

safetensors = pytest.importorskip("safetensors")
LACKS = {"complex128"}


def values(t):
    return t.detach()._array.tolist()


@pytest.mark.parametrize(
    "kind", [k for k in dtypes.ALL if k.name not in LACKS], ids=lambda kind: kind.name
)
def test_every_dtype(kind, tmp_path):
    t = iskra.tensor([1.0, 0.5, 2.0]).to(kind)
    save_file({"t": t}, tmp_path / "x.safetensors")
    back = load_file(tmp_path / "x.safetensors")["t"]
    assert back.dtype is kind and back._array.tobytes() == t._array.tobytes()


def test_shapes_layouts_and_parameters():
    base = iskra.arange(6.0)
    tensors = {
        "scalar": iskra.tensor(3.0), "empty": iskra.zeros(0, 3), "p": Parameter(iskra.ones(2)),
        "transposed": base.reshape(2, 3).t(), "strided": iskra.arange(8)[::3],
    }
    back = load(save(tensors))
    assert back["scalar"].shape == () and values(back["scalar"]) == 3.0
    assert back["empty"].shape == (0, 3) and not back["p"].requires_grad
    assert values(back["transposed"]) == [[0, 3], [1, 4], [2, 5]]
    assert values(back["strided"]) == [0, 3, 6]
    back["strided"].add_(1)
    assert values(back["strided"]) == [1, 4, 7]


def test_shared_memory_is_refused():
    base = iskra.arange(6.0)
    with pytest.raises(RuntimeError, match="'a' and 'b' share memory"):
        save({"a": base, "b": base[2:]})
    assert values(load(save({"a": base[:3], "b": base[3:]}))["b"]) == [3, 4, 5]


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([1], "expected a dict"),
        ({"a": 3}, "'a' is a int"),
        ({"a": iskra.zeros(1, dtype=iskra.complex128)}, "complex128"),
        ({"a": iskra.empty(1, device="meta")}, "meta"),
    ],
)
def test_what_cannot_be_saved(tensors, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        save_file(tensors, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": iskra.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(safetensors.SafetensorError):
        load_file(path)


def test_metadata_and_other_readers(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": iskra.ones(2, 3), "b": iskra.tensor([True])}, path, metadata={"by": "test"})
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"by": "test"} and sorted(file.keys()) == ["a", "b"]
        assert np.array_equal(file.get_tensor("a"), np.ones((2, 3), np.float32))


def test_files_go_to_pytorch_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    path = tmp_path / "x.safetensors"
    save_file({"a": iskra.tensor([1.5, -2.0]).bfloat16(), "s": iskra.tensor(1)}, path)
    back = theirs.load_file(path)
    assert back["a"].dtype is torch.bfloat16 and back["a"].tolist() == [1.5, -2.0]
    theirs.save_file({"a": torch.arange(4).to(torch.float8_e5m2)}, path)
    assert load_file(path)["a"].float().tolist() == [0, 1, 2, 3]
