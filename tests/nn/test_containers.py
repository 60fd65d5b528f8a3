"""Containers of modules and parameters."""

from collections import OrderedDict

import pytest

import iskra as torch
from iskra import nn


def layers(count):
    return [nn.Linear(i + 1, i + 1) for i in range(count)]


# ---------------------------------------------------------------- Sequential


def test_sequential_calls_in_order():
    model = nn.Sequential(nn.Threshold(0.0, 5.0), nn.Hardtanh(-1.0, 3.0))
    assert model(torch.tensor([-1.0, 2.0])).tolist() == [3, 2]
    assert nn.Sequential()(torch.ones(1)).tolist() == [1]


def test_sequential_names():
    model = nn.Sequential(OrderedDict(one=nn.ReLU(), two=nn.Tanh()))
    assert [name for name, _ in model.named_children()] == ["one", "two"]
    assert model.one is model[0] and model[-1] is model.two


def test_sequential_indexing():
    parts = layers(4)
    model = nn.Sequential(*parts)
    assert len(model) == 4 and model[2] is parts[2] and list(model) == parts
    assert isinstance(model[1:3], nn.Sequential) and list(model[1:3]) == parts[1:3]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            model[index]
    model[1] = nn.ReLU()
    assert isinstance(model[1], nn.ReLU)
    del model[0]
    assert list(model._modules) == ["0", "1", "2"] and model[1] is parts[2]
    del model[::2]
    assert list(model) == [parts[2]]


def test_sequential_as_a_list():
    parts = layers(3)
    model = nn.Sequential(parts[0])
    assert model.append(parts[1]) is model
    model.insert(1, parts[2]).insert(-1, nn.ReLU())
    assert [type(m).__name__ for m in model] == ["Linear", "Linear", "ReLU", "Linear"]
    assert model[1] is parts[2] and model[3] is parts[1]
    assert model.pop(0) is parts[0] and len(model) == 3
    model.extend([nn.Tanh(), nn.Tanh()])
    assert len(model) == 5
    with pytest.raises(IndexError):
        model.insert(9, nn.ReLU())
    with pytest.raises(AssertionError):
        model.insert(0, 3)


def test_sequential_arithmetic():
    relu, tanh = nn.ReLU(), nn.Tanh()
    both = nn.Sequential(relu) + nn.Sequential(tanh)
    assert list(both) == [relu, tanh]
    both += nn.Sequential(relu)
    assert list(both) == [relu, tanh, relu]
    assert list(2 * nn.Sequential(relu, tanh)) == [relu, tanh, relu, tanh]
    model = nn.Sequential(relu)
    model *= 3
    assert list(model) == [relu] * 3
    with pytest.raises(ValueError):
        nn.Sequential() + [relu]
    with pytest.raises(ValueError):
        nn.Sequential() * 0
    with pytest.raises(TypeError):
        nn.Sequential() * 1.5


# ---------------------------------------------------------------- ModuleList


def test_module_list():
    parts = layers(4)
    modules = nn.ModuleList(parts)
    assert len(modules) == 4 and modules[-1] is parts[3] and list(modules) == parts
    assert isinstance(modules[:2], nn.ModuleList) and list(modules[:2]) == parts[:2]
    assert list(modules + [parts[0]]) == parts + parts[:1]
    modules += [nn.ReLU()]
    modules.append(nn.Tanh()).extend(layers(1))
    modules.insert(1, nn.GELU())
    assert [type(m).__name__ for m in modules][:2] == ["Linear", "GELU"] and len(modules) == 8
    assert isinstance(modules.pop(1), nn.GELU)
    del modules[4:]
    assert list(modules) == parts
    modules[0] = nn.ReLU()
    assert isinstance(modules[0], nn.ReLU)
    with pytest.raises(IndexError):
        modules[4]
    with pytest.raises(TypeError, match="should be called with an iterable"):
        modules.extend(3)
    with pytest.raises(NotImplementedError):
        modules(torch.ones(1))


def test_module_list_registers():
    model = nn.ModuleList(layers(2))
    assert [name for name, _ in model.named_parameters()] == [
        "0.weight", "0.bias", "1.weight", "1.bias"
    ]
    assert repr(nn.ModuleList()) == "ModuleList()"


# ---------------------------------------------------------------- ModuleDict


def test_module_dict():
    relu, tanh = nn.ReLU(), nn.Tanh()
    modules = nn.ModuleDict({"relu": relu})
    modules["tanh"] = tanh
    assert len(modules) == 2 and "tanh" in modules and list(modules) == ["relu", "tanh"]
    assert list(modules.keys()) == ["relu", "tanh"] and list(modules.values()) == [relu, tanh]
    assert list(modules.items()) == [("relu", relu), ("tanh", tanh)]
    assert modules.relu is relu
    modules.update([("gelu", nn.GELU()), ["relu", tanh]])
    assert modules["relu"] is tanh and list(modules) == ["relu", "tanh", "gelu"]
    modules.update(nn.ModuleDict({"relu": relu}))
    assert modules.pop("relu") is relu and "relu" not in modules
    del modules["tanh"]
    modules.clear()
    assert len(modules) == 0
    with pytest.raises(KeyError):
        modules["relu"]
    with pytest.raises(KeyError):
        modules["keys"] = relu  # a method has that name


def test_module_dict_wrong_updates():
    modules = nn.ModuleDict()
    with pytest.raises(TypeError, match="iterable of key/value pairs, but got int"):
        modules.update(3)
    with pytest.raises(TypeError, match="element #0 should be Iterable"):
        modules.update([3])
    with pytest.raises(ValueError, match="element #0 has length 1; 2 is required"):
        modules.update([["a"]])


# ---------------------------------------------------------------- parameters


def test_parameter_list():
    params = nn.ParameterList([torch.ones(2), nn.Parameter(torch.zeros(3)), "text"])
    assert isinstance(params[0], nn.Parameter) and params[-1] == "text" and len(params) == 3
    assert [name for name, _ in params.named_parameters()] == ["0", "1"]
    params.append(torch.ones(1)).extend([torch.ones(1)])
    params += (torch.ones(1),)
    assert len(params) == 6 and len(list(params)) == 6
    assert isinstance(params[:2], nn.ParameterList) and params[:2][1] is params[1]
    params[0] = torch.full((2,), 3.0)
    assert params[0].tolist() == [3, 3] and isinstance(params[0], nn.Parameter)
    with pytest.raises(IndexError):
        params[6]
    with pytest.raises(TypeError):
        params.extend(torch.ones(2))
    with pytest.raises(RuntimeError, match="should not be called"):
        params()


def test_parameter_list_repr():
    text = repr(nn.ParameterList([torch.ones(2, 3), 5])).replace("iskra.", "torch.")
    assert text == (
        "ParameterList(\n    (0): Parameter containing: [torch.float32 of size 2x3]\n"
        "    (1): Object of type: int\n)"
    )


def test_parameter_dict():
    params = nn.ParameterDict({"b": torch.ones(2), "a": nn.Parameter(torch.zeros(1))})
    assert list(params) == ["a", "b"]  # a plain dict comes sorted
    assert isinstance(params["b"], nn.Parameter) and params.b is params["b"]
    params["c"] = 3
    assert "c" in params and params.get("d", 1) == 1 and params.setdefault("c", 9) == 3
    assert [k for k, _ in params.items()] == ["a", "b", "c"] and list(params.values())[2] == 3
    assert list(reversed(params)) == ["c", "b", "a"]
    assert params.popitem() == ("c", 3) and params.pop("a").tolist() == [0]
    assert list(params.keys()) == ["b"] and len(params) == 1
    both = params | nn.ParameterDict({"z": torch.ones(1)})
    assert list(both) == ["b", "z"] and list(params) == ["b"]
    params |= nn.ParameterDict(OrderedDict(y=torch.ones(1), x=torch.ones(1)))
    assert list(params) == ["b", "y", "x"]
    assert list(params.fromkeys(["q"], 1).items()) == [("q", 1)]
    assert list(params.state_dict()) == ["b", "y", "x"]
    params.clear()
    assert len(params) == 0 and list(params.parameters()) == []
    with pytest.raises(TypeError, match="not a string"):
        params[3] = torch.ones(1)
    with pytest.raises(RuntimeError):
        params(1)
