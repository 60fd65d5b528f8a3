"""nn.utils: clipping, vectors, parametrizations, norms, fusion, pruning, stateless calls."""

import copy
import pickle

import numpy as np
import pytest

import iskra as torch
from iskra import nn
from iskra.nn.utils import parametrizations, parametrize, prune


def with_gradients(*gradients):
    params = []
    for gradient in gradients:
        param = nn.Parameter(torch.zeros(len(gradient)))
        param.grad = torch.tensor(gradient)
        params.append(param)
    return params


# ---------------------------------------------------------------- clipping


def test_clip_grad_norm():
    params = with_gradients([3.0], [0.0, 4.0]) + [nn.Parameter(torch.zeros(1))]
    total = nn.utils.clip_grad_norm_(params, 2.5)
    assert total.item() == 5
    assert params[0].grad.tolist() == pytest.approx([1.5], rel=1e-5)
    assert params[1].grad.tolist() == pytest.approx([0, 2], rel=1e-5)
    assert nn.utils.clip_grad_norm_(params, 9.0).item() == pytest.approx(2.5, rel=1e-5)
    assert params[0].grad.tolist() == pytest.approx([1.5], rel=1e-5)  # below the limit


def test_clip_grad_norm_of_other_orders():
    assert nn.utils.clip_grad_norm_(with_gradients([3.0], [-4.0]), 1.0, float("inf")).item() == 4
    assert nn.utils.clip_grad_norm_(with_gradients([3.0], [-4.0]), 1.0, 1).item() == 7
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0
    (param,) = with_gradients([3.0])
    assert nn.utils.clip_grad_norm_(param, 1.0).item() == 3


def test_clip_grad_norm_not_finite():
    (param,) = with_gradients([float("inf"), 1.0])
    with pytest.raises(RuntimeError, match="non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(param, 1.0, error_if_nonfinite=True)
    assert param.grad.tolist() == [float("inf"), 1.0]


def test_clip_grad_norm_of_an_empty_generator():
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in ()), 1.0)


def test_total_norm_and_clip_with_it():
    params = with_gradients([3.0], [4.0])
    total = nn.utils.get_total_norm([p.grad for p in params])
    nn.utils.clip_grads_with_norm_(params, 1.0, total)
    assert params[1].grad.tolist() == pytest.approx([0.8], rel=1e-5)


def test_clip_grad_value():
    (param,) = with_gradients([3.0, -0.5, -7.0])
    nn.utils.clip_grad_value_(param, 1)
    assert param.grad.tolist() == [1, -0.5, -1]


# ---------------------------------------------------------------- vectors


def test_parameters_to_vector_and_back():
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    before = list(layer.parameters())
    nn.utils.vector_to_parameters(torch.arange(9.0), layer.parameters())
    assert layer.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and layer.bias.tolist() == [6, 7, 8]
    assert all(a is b for a, b in zip(before, layer.parameters()))
    with pytest.raises(TypeError):
        nn.utils.vector_to_parameters([1.0], layer.parameters())


# ---------------------------------------------------------------- parametrizations


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(0, 1)

    def right_inverse(self, x):
        return x.triu()


class Double(nn.Module):
    def forward(self, x):
        return x * 2


def test_parametrize():
    layer = nn.Linear(3, 3)
    before = layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert torch.equal(layer.weight, layer.weight.T)
    assert [name for name, _ in layer.named_parameters()] == [
        "bias", "parametrizations.weight.original"
    ]
    assert layer.parametrizations.weight.original is before
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    layer(torch.ones(1, 3)).sum().backward()
    assert before.grad is not None and before.grad[2, 0] == 0


def test_parametrized_tensors_can_be_assigned():
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    layer.weight = torch.tensor([[1.0, 2.0], [2.0, 3.0]])
    assert layer.weight.tolist() == [[1, 2], [2, 3]]
    assert layer.parametrizations.weight.original.tolist() == [[1, 2], [0, 3]]
    other = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Double())
    with pytest.raises(RuntimeError, match="Double does not implement right_inverse"):
        other.weight = torch.zeros(2, 2)


def test_a_second_parametrization_and_removal():
    layer = nn.Linear(2, 2)
    original = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "weight", Double())
    assert torch.equal(layer.weight, original * 4)
    other = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and torch.equal(layer.weight, original * 4)
    assert isinstance(layer.weight, nn.Parameter) and not parametrize.is_parametrized(layer)
    assert torch.equal(other.weight, original * 4)
    parametrize.remove_parametrizations(other, "weight", leave_parametrized=False)
    assert torch.equal(other.weight, original)
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(other, "weight")


def test_what_parametrize_refuses():
    class Wrong(nn.Module):
        def forward(self, x):
            return x[:1]

    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", Wrong())
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(nn.Linear(2, 2), "nothing", Double())
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Double())
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


def test_cached():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return x * 1

    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Counting(), unsafe=True)
    Counting.calls = 0
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert Counting.calls == 1
    assert layer.weight is not layer.weight


def test_weight_norm():
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    parametrizations.weight_norm(layer)
    assert list(layer.state_dict()) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1"
    ]
    np.testing.assert_allclose(layer.weight.detach().numpy(), before.numpy(), rtol=1e-6)
    norms = np.linalg.norm(before.numpy(), axis=1, keepdims=True)
    np.testing.assert_allclose(
        layer.parametrizations.weight.original0.detach().numpy(), norms, rtol=1e-6
    )
    layer.load_state_dict({
        "bias": torch.zeros(3), "weight_g": torch.ones(3, 1), "weight_v": torch.ones(3, 4)
    })
    assert layer.weight.detach().numpy() == pytest.approx(0.5)


def test_older_weight_norm():
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().numpy().copy()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(layer)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight_g", "weight_v"]
    layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight_g.grad is not None and layer.weight_v.grad is not None
    nn.utils.remove_weight_norm(layer)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
        nn.utils.remove_weight_norm(layer)


@pytest.mark.parametrize("older", [False, True])
def test_spectral_norm(older):
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    norm = nn.utils.spectral_norm if older else parametrizations.spectral_norm
    norm(layer, n_power_iterations=30)
    layer(torch.ones(1, 6))
    largest = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    assert largest == pytest.approx(1, rel=1e-4)
    if older:
        assert set(layer.state_dict()) == {"bias", "weight_orig", "weight_u", "weight_v"}
        nn.utils.remove_spectral_norm(layer)
    else:
        assert "parametrizations.weight.0._u" in layer.state_dict()
        parametrize.remove_parametrizations(layer, "weight")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]


def test_spectral_norm_in_evaluation_keeps_its_vectors():
    layer = parametrizations.spectral_norm(nn.Linear(6, 5)).eval()
    u = layer.parametrizations.weight[0]._u.clone()
    layer(torch.ones(1, 6))
    assert torch.equal(layer.parametrizations.weight[0]._u, u)


@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal(orthogonal_map, shape):
    layer = nn.Linear(shape[1], shape[0])
    parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
    weight = layer.weight.detach().numpy()
    weight = weight if shape[0] >= shape[1] else weight.T
    np.testing.assert_allclose(weight.T @ weight, np.eye(min(shape)), atol=1e-5)
    layer(torch.ones(1, shape[1])).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None


def test_orthogonal_refuses():
    with pytest.raises(ValueError, match="Expected a matrix"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    with pytest.raises(ValueError, match="has no parameter or buffer"):
        parametrizations.orthogonal(nn.Linear(2, 2), "nothing")
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="other")


# ---------------------------------------------------------------- fusion, skip_init


@pytest.mark.parametrize("bias", [True, False])
def test_fuse_conv_and_batch_norm(bias):
    conv, norm = nn.Conv2d(2, 3, 2, bias=bias), nn.BatchNorm2d(3)
    x = torch.arange(36.0).reshape(2, 2, 3, 3) / 36
    norm(conv(x))
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        nn.utils.fuse_conv_bn_eval(conv, norm)
    conv.eval(), norm.eval()
    fused = nn.utils.fuse_conv_bn_eval(conv, norm)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), norm(conv(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_fuse_linear_and_batch_norm():
    linear, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
    x = torch.arange(15.0).reshape(5, 3)
    norm(linear(x))
    linear.eval(), norm.eval()
    fused = nn.utils.fuse_linear_bn_eval(linear, norm)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), norm(linear(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("layer", "norm", "shape", "transpose"), [
    (lambda n: n.Conv1d(2, 4, 3, groups=2), lambda n: n.BatchNorm1d(4), (2, 2, 6), False),
    (lambda n: n.Conv3d(2, 3, 2, bias=False), lambda n: n.BatchNorm3d(3, eps=0.1),
     (1, 2, 3, 3, 3), False),
    (lambda n: n.ConvTranspose2d(2, 3, 2, stride=2), lambda n: n.BatchNorm2d(3), (2, 2, 3, 3),
     True),
    (lambda n: n.Conv2d(2, 3, 2), lambda n: n.BatchNorm2d(3, affine=False), (2, 2, 3, 3), False),
    (lambda n: n.Linear(3, 4, bias=False), lambda n: n.BatchNorm1d(4), (5, 3), None),
    (lambda n: n.Linear(3, 4), lambda n: n.BatchNorm1d(1), (5, 1, 3), None),
])
def test_fusion_beside_pytorch(layer, norm, shape, transpose):
    found = []
    for T in (torch, pytest.importorskip("torch")):
        T.manual_seed(0)
        first, second = layer(T.nn), norm(T.nn)
        second.running_mean.uniform_(-1, 1)
        second.running_var.uniform_(0.5, 2)
        if second.affine:
            T.nn.init.uniform_(second.weight, 0.5, 2)
            T.nn.init.uniform_(second.bias, -1, 1)
        first.eval(), second.eval()
        if transpose is None:
            fused = T.nn.utils.fuse_linear_bn_eval(first, second)
        else:
            fused = T.nn.utils.fuse_conv_bn_eval(first, second, transpose)
        x = T.rand(shape)
        if transpose is not None or second.num_features > 1:
            np.testing.assert_allclose(fused(x).detach().numpy(), second(first(x)).detach().numpy(),
                                       rtol=1e-4, atol=1e-5)
        found.append((fused.weight, fused.bias))
        assert first.weight is not fused.weight
    for ours, theirs in zip(*found, strict=True):
        assert ours.requires_grad == theirs.requires_grad
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5,
                                   atol=1e-6)


def test_fusion_keeps_dtypes_and_refuses_other_sizes():
    weight, bias = torch.ones(2, 3).bfloat16(), torch.ones(2).half()
    mean, var = torch.zeros(2), torch.ones(2)
    made = nn.utils.fuse_linear_bn_weights(weight, bias, mean, var, 0.0, None, None)
    assert [m.dtype for m in made] == [torch.bfloat16, torch.float16]
    assert isinstance(made[0], nn.Parameter) and made[1].tolist() == [1, 1]
    made = nn.utils.fuse_conv_bn_weights(torch.ones(2, 3, 1), None, mean, var, 0.0, var * 3, mean)
    assert made[0].unique().tolist() == [3] and not made[1].requires_grad
    with pytest.raises(AssertionError, match="num_features"):
        nn.utils.fuse_linear_bn_eval(nn.Linear(3, 4).eval(), nn.BatchNorm1d(3).eval())
    norm = nn.BatchNorm1d(4, track_running_stats=False).eval()
    with pytest.raises(AssertionError, match="running_mean"):
        nn.utils.fuse_linear_bn_eval(nn.Linear(3, 4).eval(), norm)


def test_skip_init_draws_nothing():
    torch.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 3, 2, bias=False)
    assert layer.weight.shape == (2, 3) and layer.weight.device.type == "cpu"
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


# ---------------------------------------------------------------- pruning


def test_prune_and_remove():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]))
    prune.l1_unstructured(layer, "weight", 2)
    assert layer.weight.tolist() == [[0, 0, 3], [-4, 5, -6]]
    assert set(layer.state_dict()) == {"bias", "weight_orig", "weight_mask"}
    assert prune.is_pruned(layer)
    prune.ln_structured(layer, "weight", 1, n=2, dim=0)
    assert layer.weight.tolist() == [[0, 0, 0], [-4, 5, -6]]
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.weight_orig.grad.tolist() == [[0, 0, 0], [1, 1, 1]]
    prune.remove(layer, "weight")
    assert layer.weight.tolist() == [[0, 0, 0], [-4, 5, -6]]
    assert isinstance(layer.weight, nn.Parameter) and not prune.is_pruned(layer)
    with pytest.raises(ValueError, match="has to be pruned before"):
        prune.remove(layer, "weight")


def test_prune_randomly():
    layer = nn.Linear(10, 10)
    prune.random_unstructured(layer, "weight", 0.3)
    assert int(layer.weight_mask.sum()) == 70
    prune.random_structured(layer, "weight", 2, dim=1)
    assert int((layer.weight_mask.sum(0) == 0).sum()) == 2
    prune.identity(layer, "bias")
    assert layer.bias_mask.tolist() == [1] * 10


def test_prune_globally():
    one, two = nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        one.weight.copy_(torch.tensor([[1.0], [4.0]]))
        two.weight.copy_(torch.tensor([[2.0], [3.0]]))
    prune.global_unstructured([(one, "weight"), (two, "weight")], prune.L1Unstructured, amount=2)
    assert one.weight.tolist() == [[0], [4]] and two.weight.tolist() == [[0], [3]]


def test_prune_refuses():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="should either be a float in the range"):
        prune.random_unstructured(layer, "weight", 1.5)
    with pytest.raises(TypeError, match="Must be int or float"):
        prune.random_unstructured(layer, "weight", "many")
    with pytest.raises(ValueError, match="should be smaller than"):
        prune.l1_unstructured(layer, "weight", 7)
    with pytest.raises(ValueError, match="multidimensional"):
        prune.random_structured(layer, "bias", 1, dim=0)
    assert isinstance(layer.weight, nn.Parameter)  # nothing is half done
    assert set(layer.state_dict()) == {"weight", "bias"} and not prune.is_pruned(layer)


# ---------------------------------------------------------------- stateless calls


def call(module, tensors, *args, **kwargs):
    with pytest.warns(FutureWarning):
        return nn.utils.stateless.functional_call(module, tensors, args, **kwargs)


def test_functional_call():
    layer = nn.Linear(2, 1)
    own = layer.weight
    weight = torch.tensor([[2.0, 3.0]], requires_grad=True)
    output = call(layer, {"weight": weight, "bias": torch.zeros(1)}, torch.ones(1, 2))
    assert output.tolist() == [[5]] and layer.weight is own
    output.sum().backward()
    assert weight.grad.tolist() == [[1, 1]] and own.grad is None


def test_functional_call_updates_given_buffers():
    layer = nn.BatchNorm1d(1)
    tensors = {name: t.clone() for name, t in layer.state_dict().items()}
    call(layer, tensors, torch.tensor([[1.0], [3.0]]))
    assert tensors["num_batches_tracked"].item() == 1 and layer.num_batches_tracked.item() == 0
    assert tensors["running_mean"].tolist() == pytest.approx([0.2])
    assert layer.running_mean.tolist() == [0]


def test_functional_call_restores_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2))
    own = model[0].weight
    with pytest.raises(RuntimeError):
        call(model, {"0.weight": torch.ones(5, 5)}, torch.ones(1, 2))
    assert model[0].weight is own


def test_functional_call_with_tied_weights():
    layer = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(layer, nn.Linear(2, 2, bias=False))
    model[1].weight = layer.weight
    double = {"0.weight": torch.eye(2) * 2}
    assert call(model, double, torch.ones(1, 2)).tolist() == [[4, 4]]
    both = {"0.weight": torch.eye(2), "1.weight": torch.eye(2)}
    with pytest.raises(ValueError, match="multiple values for keys"):
        call(model, both, torch.ones(1, 2))
    assert call(model, both, torch.ones(1, 2), tie_weights=False).tolist() == [[1, 1]]


def test_functional_call_strict():
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): 'other'.\n\tMissing key"):
        call(layer, {"weight": torch.eye(2), "other": torch.eye(2)}, torch.ones(1, 2), strict=True)
