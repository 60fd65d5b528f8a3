"""What a module holds: registration, attributes, walking the tree, modes, printing, copying."""

import copy
import pickle
import textwrap

import pytest

import iskra as torch
from iskra import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(2, 2, bias=False))
        self.register_buffer("steps", torch.zeros(1))
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.body(self.first(x)) * self.scale


# ---------------------------------------------------------------- registration


def test_assigning_before_init_names_the_mend():
    class Bad(nn.Module):
        def __init__(self, value):
            self.part = value

    for value, kind in ((nn.Parameter(torch.ones(1)), "parameters"), (nn.ReLU(), "module")):
        with pytest.raises(
            AttributeError, match=rf"cannot assign {kind} before Module.__init__\(\) call"
        ) as caught:
            Bad(value)
        assert "super().__init__() first in Bad.__init__" in str(caught.value)


def test_registering_a_buffer_before_init():
    class Bad(nn.Module):
        def __init__(self):
            self.register_buffer("mean", torch.zeros(1))

    with pytest.raises(AttributeError, match="cannot assign buffer before"):
        Bad()


def test_reading_an_attribute_before_init_names_the_mend():
    class Bad(nn.Module):
        def __init__(self):
            self.width = 3  # plain attributes need no Module.__init__

    bad = Bad()
    assert bad.width == 3
    with pytest.raises(AttributeError, match=r"no attribute 'weight'.*super\(\).__init__\(\)"):
        bad.weight  # noqa: B018


def test_surplus_arguments_of_init():
    with pytest.raises(TypeError, match=r"Module.__init__\(\) got an unexpected keyword .* 'a'"):
        nn.Module(a=1)
    with pytest.raises(TypeError, match="takes 1 positional argument but 3 were given"):
        nn.Module(1, 2)


def test_call_super_init_passes_arguments_on():
    class Other:
        def __init__(self, value):
            self.value = value

    class Both(nn.Module, Other):
        call_super_init = True

    assert Both(5).value == 5


@pytest.mark.parametrize("name, error", [("a.b", KeyError), ("", KeyError), (3, TypeError)])
def test_unusable_names(name, error):
    module = nn.Module()
    with pytest.raises(error, match="name"):
        module.register_parameter(name, nn.Parameter(torch.ones(1)))
    with pytest.raises(error, match="name"):
        module.register_buffer(name, torch.ones(1))
    with pytest.raises(error, match="name"):
        module.add_module(name, nn.ReLU())


def test_taken_names():
    module = Net()
    for register, value in (
        (module.register_parameter, nn.Parameter(torch.ones(1))),
        (module.register_buffer, torch.ones(1)),
        (module.add_module, nn.ReLU()),
    ):
        with pytest.raises(KeyError, match="attribute 'forward' already exists"):
            register("forward", value)


def test_wrong_kinds():
    module = Net()
    with pytest.raises(TypeError, match="Parameter or None required"):
        module.register_parameter("p", torch.ones(1))
    with pytest.raises(TypeError, match="Tensor or None required"):
        module.register_buffer("b", 3)
    with pytest.raises(TypeError, match="ReLU is not a Module subclass"):
        module.add_module("m", nn.ReLU)
    with pytest.raises(TypeError, match="as parameter 'scale'"):
        module.scale = torch.ones(2)
    with pytest.raises(TypeError, match="as child module 'first'"):
        module.first = 3
    with pytest.raises(TypeError, match="as buffer 'steps'"):
        module.steps = 3
    assert module.scale.tolist() == [1, 1] and module.steps.tolist() == [0]


def test_a_computed_tensor_is_no_parameter():
    module = nn.Module()
    leaf = torch.ones(2, requires_grad=True)
    computed = (leaf * 2).detach()
    module.register_parameter("good", nn.Parameter(computed))
    with pytest.raises(TypeError, match="cannot assign"):
        module.register_parameter("bad", leaf * 2)


def test_none_stands_for_a_part_that_is_not_there():
    module = nn.Module()
    module.register_parameter("bias", None)
    module.register_buffer("mean", None)
    module.add_module("layer", None)
    assert module.bias is None and module.mean is None and module.layer is None
    assert list(module.parameters()) == [] and dict(module.state_dict()) == {}
    module.bias = nn.Parameter(torch.ones(1))
    assert [name for name, _ in module.named_parameters()] == ["bias"]


def test_a_name_moves_between_kinds():
    module = nn.Module()
    module.thing = 3
    module.thing = nn.ReLU()
    assert "thing" not in vars(module) and list(module._modules) == ["thing"]
    module.thing = nn.Parameter(torch.ones(1))
    assert list(module._modules) == [] and list(module._parameters) == ["thing"]
    with pytest.raises(TypeError, match="as parameter 'thing'"):
        module.thing = nn.ReLU()
    module.thing = None
    assert module.thing is None
    del module.thing
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'thing'"):
        module.thing  # noqa: B018
    module.thing = nn.Buffer(torch.ones(1))
    assert list(module._buffers) == ["thing"]


def test_delete():
    module = Net()
    for name in ("first", "scale", "steps"):
        delattr(module, name)
        assert not hasattr(module, name)
    with pytest.raises(AttributeError):
        del module.first
    module.plain = 1
    del module.plain
    assert not hasattr(module, "plain")


def test_buffers_persistent_or_not():
    module = nn.Module()
    module.register_buffer("kept", torch.ones(1))
    module.register_buffer("temporary", torch.ones(1), persistent=False)
    module.other = nn.Buffer(torch.ones(1), persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert [name for name, _ in module.named_buffers()] == ["kept", "temporary", "other"]
    module.temporary = torch.zeros(1)  # stays what it was
    assert list(module.state_dict()) == ["kept"]
    module.register_buffer("temporary", torch.ones(1))
    assert list(module.state_dict()) == ["kept", "temporary"]


def test_buffer_class():
    buffer = nn.Buffer(torch.ones(2))
    assert isinstance(buffer, nn.Buffer) and isinstance(buffer, torch.Tensor)
    assert not isinstance(torch.ones(2), nn.Buffer)
    assert not isinstance(buffer, nn.Parameter)
    assert nn.Buffer().numel() == 0


def test_dir_lists_what_is_registered():
    module = Net()
    assert {"first", "body", "steps", "scale", "forward", "training"} <= set(dir(module))
    assert not any(name.isdigit() for name in dir(module.body))


def test_missing_forward():
    with pytest.raises(NotImplementedError, match=r'\[Module\] is missing the required "forward"'):
        nn.Module()(1)


# ---------------------------------------------------------------- the tree


def test_names():
    module = Net()
    assert [name for name, _ in module.named_modules()] == ["", "first", "body", "body.0", "body.1"]
    assert [name for name, _ in module.named_children()] == ["first", "body"]
    names = ["scale", "first.weight", "first.bias", "body.1.weight"]
    assert [name for name, _ in module.named_parameters()] == names
    assert [name for name, _ in module.named_parameters("net")] == ["net." + n for n in names]
    assert [name for name, _ in module.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in module.named_buffers()] == ["steps"]
    assert len(list(module.parameters())) == 4 and len(list(module.buffers())) == 1
    assert [type(m).__name__ for m in module.modules()] == [
        "Net", "Linear", "Sequential", "ReLU", "Linear"
    ]


def test_shared_parts_come_once_unless_asked():
    shared = nn.Linear(2, 2)
    module = nn.Sequential(shared, shared)
    assert [name for name, _ in module.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(module.named_parameters(remove_duplicate=False))) == 4
    assert [name for name, _ in module.named_modules()] == ["", "0"]
    assert [name for name, _ in module.named_modules(remove_duplicate=False)] == ["", "0", "1"]
    assert [name for name, _ in module.named_children()] == ["0"]
    assert len(module.state_dict()) == 4
    module[1].weight = module[0].weight
    assert len(list(module.parameters())) == 2


def test_get_by_path():
    module = Net()
    assert module.get_submodule("") is module
    assert module.get_submodule("body.1") is module.body[1]
    assert module.get_parameter("first.weight") is module.first.weight
    assert module.get_buffer("steps") is module.steps
    with pytest.raises(AttributeError, match="Sequential has no attribute `7`"):
        module.get_submodule("body.7")
    with pytest.raises(AttributeError, match="`scale` is not an nn.Module"):
        module.get_submodule("scale")
    with pytest.raises(AttributeError, match="`steps` is not an nn.Parameter"):
        module.get_parameter("steps")
    with pytest.raises(AttributeError, match="`scale` is not a buffer"):
        module.get_buffer("scale")


def test_set_submodule():
    module = Net()
    module.set_submodule("body.0", nn.Tanh())
    assert type(module.body[0]) is nn.Tanh
    module.set_submodule("extra", nn.Tanh())
    assert type(module.extra) is nn.Tanh
    with pytest.raises(AttributeError, match="no attribute `missing`"):
        module.set_submodule("missing", nn.Tanh(), strict=True)
    with pytest.raises(AttributeError, match="`scale` is not an nn.Module"):
        module.set_submodule("scale", nn.Tanh())
    with pytest.raises(ValueError, match="without a target name"):
        module.set_submodule("", nn.Tanh())


def test_apply_visits_children_first():
    seen = []
    module = Net()
    assert module.apply(lambda m: seen.append(type(m).__name__)) is module
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


# ---------------------------------------------------------------- modes and gradients


def test_train_and_eval():
    module = Net()
    assert module.training and module.eval() is module
    assert not any(m.training for m in module.modules())
    module.body.train()
    assert module.body[0].training and not module.first.training
    with pytest.raises(ValueError, match="boolean"):
        module.train(1)


def test_requires_grad_and_zero_grad():
    module = Net()
    module(torch.ones(4, 3)).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    module.zero_grad(set_to_none=False)
    assert all(float(p.grad.abs().sum()) == 0 for p in module.parameters())
    module.zero_grad()
    assert all(p.grad is None for p in module.parameters())
    module.requires_grad_(False)
    assert not any(p.requires_grad for p in module.parameters())


# ---------------------------------------------------------------- converting


def test_to_keeps_identity_and_integers():
    module = Net()
    module.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    before = list(module.parameters())
    module(torch.ones(4, 3)).sum().backward()
    assert module.to(torch.float64) is module
    after = list(module.parameters())
    assert all(a is b for a, b in zip(before, after))
    assert {p.dtype for p in after} == {torch.float64} and module.steps.dtype == torch.float64
    assert {p.grad.dtype for p in after} == {torch.float64}
    assert module.count.dtype == torch.int64
    assert module(torch.ones(4, 3, dtype=torch.float64)).dtype == torch.float64


def test_to_takes_what_tensor_to_takes():
    layer = nn.Linear(2, 2)
    layer.to("cpu", torch.float64)
    assert layer.weight.dtype == torch.float64
    layer.to(torch.ones(1))
    assert layer.weight.dtype == torch.float32
    layer.to(dtype=torch.float16, non_blocking=True)
    assert layer.weight.dtype == torch.float16
    layer.to(torch.device("cpu"))
    assert layer.weight.dtype == torch.float16
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        layer.to(torch.int64)
    with pytest.raises(TypeError):
        layer.to(torch.float32, torch.float32)


def test_named_conversions():
    module = Net()
    for name, dtype in (
        ("double", torch.float64), ("half", torch.float16), ("bfloat16", torch.bfloat16),
        ("float", torch.float32),
    ):
        assert getattr(module, name)() is module
        assert module.scale.dtype == dtype and module.steps.dtype == dtype
    module.type(torch.float64)
    assert module.scale.dtype == torch.float64
    assert module.cpu().scale.dtype == torch.float64


def test_values_survive_a_conversion():
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    layer.double().float()
    assert torch.equal(layer.weight, before)


# ---------------------------------------------------------------- printing


def test_repr_of_a_tree():
    class Shown(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)
            self.none = None
            self.register_module("gone", None)
            self.body = nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()])

        def extra_repr(self):
            return "one\ntwo"

    assert repr(Shown()) == textwrap.dedent("""\
        Shown(
          one
          two
          (head): Linear(in_features=1, out_features=2, bias=True)
          (gone): None
          (body): ModuleList(
            (0-1): 2 x Linear(in_features=1, out_features=2, bias=True)
            (2): ReLU()
          )
        )""")
    assert repr(nn.Module()) == "Module()"
    assert repr(nn.Sequential()) == "Sequential()"


def test_repr_of_extra_lines_without_children():
    class Lines(nn.Module):
        def __init__(self, text):
            super().__init__()
            self.text = text

        def extra_repr(self):
            return self.text

    assert repr(Lines("a=1")) == "Lines(a=1)"
    assert repr(Lines("a=1\nb=2")) == "Lines(\n  a=1\n  b=2\n)"


# ---------------------------------------------------------------- copies


def test_deep_copy_is_independent():
    module = Net()
    other = copy.deepcopy(module)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters()))
    assert not any(a is b for a, b in zip(module.parameters(), other.parameters()))
    with torch.no_grad():
        other.scale.fill_(7)
    assert module.scale.tolist() == [1, 1]
    assert other.scale.requires_grad and other.scale.is_leaf


def test_deep_copy_keeps_sharing():
    shared = nn.Linear(2, 2)
    other = copy.deepcopy(nn.Sequential(shared, shared))
    assert other[0] is other[1] and other[0] is not shared


def test_shallow_copy_shares():
    module = nn.Linear(2, 2)
    assert copy.copy(module).weight is module.weight


def test_pickle():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    other = pickle.loads(pickle.dumps(module))
    x = torch.ones(4, 2)
    assert torch.equal(module(x), other(x)) and not other[1].training
    assert repr(module) == repr(other)


def test_a_method_override_is_seen_below():
    class Frozen(nn.Linear):
        def train(self, mode=True):
            return super().train(False)

    assert not nn.Sequential(Frozen(1, 1)).train()[0].training
