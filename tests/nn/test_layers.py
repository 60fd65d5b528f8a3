"""Every layer beside PyTorch's: the printed form, the initial bits, outputs, gradients, buffers."""

import inspect
import warnings

import numpy as np
import pytest
from nn.layer_cases import CASES, Draw, Fixed, identifier

import iskra
import iskra.nn

# Layers whose outputs are no comparison: PyTorch's gradient of this one disagrees with its output.
WRONG_GRADIENT_IN_PYTORCH = {"CrossMapLRN2d"}


def tensors(lib, values):
    """The inputs as tensors of a library; an array used twice becomes one tensor."""
    made = {}

    def tensor(value):
        if isinstance(value, Fixed):
            return lib.from_numpy(np.array(value.array))
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in made:
            result = lib.from_numpy(np.array(value))
            made[id(value)] = result.requires_grad_(value.dtype.kind == "f")
        return made[id(value)]

    return [tensor(value) for value in values]


def arrays(lib, values):
    """All tensors in nested outputs, as arrays."""
    if isinstance(values, lib.Tensor):
        return [values.detach().numpy()]
    if isinstance(values, (tuple, list)):
        return [array for value in values for array in arrays(lib, value)]
    return []


def is_lazy(lib, tensor):
    return lib.nn.parameter.is_lazy(tensor)


def state_of(lib, module):
    return {
        name: None if is_lazy(lib, tensor) else tensor.numpy().copy()
        for name, tensor in module.state_dict().items()
    }


def weighted_sum(lib, outputs):
    """A scalar that depends differently on each element of each differentiable output."""
    total = 0
    for output in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
        if isinstance(output, (tuple, list)):
            total = total + weighted_sum(lib, output)
        elif isinstance(output, lib.Tensor) and output.requires_grad:
            weights = lib.from_numpy(np.linspace(0.5, 1.5, output.numel(), dtype=np.float32))
            total = total + (output.reshape(-1) * weights).sum()
    return total


def run(lib, the_case):
    """Everything about one layer that is to be the same."""
    name, args, kwargs, inputs = the_case
    lib.manual_seed(0)
    if args and args[0] is None:  # a stack takes a layer
        args = (getattr(lib.nn, name + "Layer")(8, 2, 16, 0.0), *args[1:])
    module = getattr(lib.nn, name)(*args, **kwargs)
    seen = {"repr": repr(module).replace("iskra.", "torch."), "initial": state_of(lib, module)}
    given = tensors(lib, inputs(Draw()))
    lib.manual_seed(1)
    outputs = module(*given)
    seen["output"] = arrays(lib, outputs)
    total = weighted_sum(lib, outputs)
    if isinstance(total, lib.Tensor):
        total.backward()
    leaves = [t for t in given if isinstance(t, lib.Tensor)] + list(module.parameters())
    seen["gradients"] = [None if t.grad is None else t.grad.numpy() for t in leaves]
    seen["repr after"] = repr(module).replace("iskra.", "torch.")
    seen["final"] = state_of(lib, module)
    module.eval()
    lib.manual_seed(2)
    seen["evaluated"] = arrays(lib, module(*given))
    seen["attributes"] = {
        key: value for key, value in sorted(vars(module).items())
        if not key.startswith("_") and isinstance(value, (bool, int, float, str, tuple, list))
    }
    return seen


def assert_same(what, own, other, exact=False):
    assert type(own) is type(other) or isinstance(own, np.ndarray), what
    if isinstance(own, dict):
        assert list(own) == list(other), what
        for key in own:
            assert_same(f"{what} {key}", own[key], other[key], exact)
    elif isinstance(own, list) and own and isinstance(own[0], (np.ndarray, type(None))):
        assert len(own) == len(other), what
        for i, (one, two) in enumerate(zip(own, other)):
            assert_same(f"{what} {i}", one, two, exact)
    elif isinstance(own, np.ndarray):
        assert own.shape == other.shape and own.dtype == other.dtype, what
        if exact:
            np.testing.assert_array_equal(own, other, err_msg=what)
        else:
            np.testing.assert_allclose(own, other, rtol=2e-5, atol=2e-6, err_msg=what)
    else:
        assert own == other, what


@pytest.mark.parametrize("the_case", CASES, ids=identifier)
def test_beside_pytorch(the_case):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both warn about the same settings; not what is tested
        own, other = run(iskra, the_case), run(torch, the_case)
    if the_case[0] in WRONG_GRADIENT_IN_PYTORCH:
        del own["gradients"], other["gradients"]
    for what in own:
        assert_same(what, own[what], other[what], exact=what == "initial")


def test_every_layer_has_a_case():
    containers = {
        "Container", "LinearCrossEntropyOptions", "Module", "ModuleDict", "ModuleList",
        "NLLLoss2d", "ParameterDict", "ParameterList", "RNNBase", "RNNCellBase", "Sequential",
    }
    tried = {the_case[0] for the_case in CASES}
    assert set(iskra.nn.modules.__all__) - containers == tried


def test_signatures_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in torch.nn.modules.__all__:
        own, other = getattr(iskra.nn, name), getattr(torch.nn, name)
        if name in ("RNN", "LSTM", "GRU", "NLLLoss2d", "Container"):  # PyTorch's say *args only
            continue
        own, other = inspect.signature(own), inspect.signature(other)
        assert list(own.parameters) == list(other.parameters), name
        for key, parameter in own.parameters.items():
            wanted = other.parameters[key]
            assert parameter.kind == wanted.kind, (name, key)
            if not callable(parameter.default):
                assert parameter.default == wanted.default, (name, key)
