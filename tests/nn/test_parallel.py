"""nn.parallel on devices that are all the CPU, and nn.attention's choices."""

import pytest

import iskra as torch
from iskra import nn
from iskra.nn import parallel


def test_scatter_and_gather():
    parts = parallel.scatter((torch.arange(5), {"a": torch.arange(4)}, "x"), ["cpu", "cpu"])
    assert parts[0][0].tolist() == [0, 1, 2] and parts[1][0].tolist() == [3, 4]
    assert parts[1][1]["a"].tolist() == [2, 3] and parts[0][2] == "x"
    joined = parallel.gather([(torch.ones(2), {"a": torch.zeros(1)})] * 2, "cpu")
    assert joined[0].tolist() == [1] * 4 and joined[1]["a"].tolist() == [0, 0]
    assert parallel.gather([torch.tensor(1.0), torch.tensor(2.0)], "cpu").tolist() == [1, 2]
    with pytest.raises(ValueError, match="same number of keys"):
        parallel.gather([{"a": torch.ones(1)}, {}], "cpu")


def test_data_parallel_is_the_module_itself():
    model = nn.DataParallel(nn.Linear(2, 1))
    assert torch.equal(model(torch.ones(3, 2)), model.module(torch.ones(3, 2)))


def test_gradients_reach_the_original_through_replicas():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    x = torch.arange(8.0).reshape(4, 2)
    split = parallel.data_parallel(model, x, ["cpu", "cpu"])
    whole = model(x)
    assert torch.allclose(split, whole)
    split.sum().backward()
    by_parts = model[0].weight.grad.clone()
    model.zero_grad()
    whole.sum().backward()
    assert torch.allclose(by_parts, model[0].weight.grad)


def test_replicas_have_no_parameters():
    replica = parallel.replicate(nn.Linear(2, 2), ["cpu"])[0]
    assert list(replica.parameters()) == []
    with pytest.warns(UserWarning, match="has no effect"):
        replica.zero_grad()


def test_attention_backends():
    from iskra.nn.attention import SDPBackend, sdpa_kernel

    q = torch.ones(1, 1, 2, 4)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        assert nn.functional.scaled_dot_product_attention(q, q, q).tolist() == q.tolist()
    with pytest.raises(AssertionError, match="must be an instance of SDPBackend"):
        with sdpa_kernel("math"):
            pass
