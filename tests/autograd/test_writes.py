"""Writing in place: version checks, leaf rules, and views whose history follows their base."""

import pytest

import iskra as torch


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_an_overwritten_saved_value_is_an_error():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = y.exp()
    z.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace.*\[2\].*ExpBackward0.*'exp'"):
        z.sum().backward()


def test_an_overwritten_operand_is_an_error():
    x = leaf(1.0, 2.0)
    weight = torch.ones(2, dtype=torch.float64)
    y = (x * weight).sum()
    weight.add_(1)
    with pytest.raises(RuntimeError, match="version 1; expected version 0.*'mul'"):
        y.backward()


def test_a_write_to_what_no_formula_needs_is_fine():
    x = leaf(1.0, 2.0)
    y = x + 1
    y.mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_writes_through_views_are_seen():
    x = leaf(1.0, 2.0)
    weight = torch.ones(2, dtype=torch.float64)
    y = (x * weight).sum()
    weight[0].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.backward()


def test_leaves_and_their_views_refuse_writes():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        x[0].add_(1)
    assert x.tolist() == [1, 2]
    with torch.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3] and x._version == 1


def test_a_write_is_differentiated():
    x = leaf(2.0, 3.0)
    y = x.clone()
    y.pow_(2)  # its formula needs what it overwrites
    y.sum().backward()
    assert x.grad.tolist() == [4, 6]


def test_writing_to_a_view_gives_the_base_a_history():
    base = torch.zeros(4, dtype=torch.float64)
    w = leaf(5.0)
    view = base[1:3]
    view.add_(w)
    assert base.requires_grad and base.grad_fn.name() == "CopySlices"
    (base * torch.arange(4)).sum().backward()
    assert w.grad.tolist() == [3.0]


def test_other_views_follow_a_write_to_the_base():
    base = torch.ones(3, dtype=torch.float64)
    view = base[:2]
    w = leaf(1.0, 2.0, 3.0)
    base.mul_(w)
    assert view.requires_grad and view.grad_fn.name() == "AsStridedBackward0"
    (view * 10).sum().backward()
    assert w.grad.tolist() == [10, 10, 0]


def test_a_view_written_twice():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    y[0:2].mul_(2)
    y[1:3].mul_(3)
    y.sum().backward()
    assert x.grad.tolist() == [2, 6, 3]


def test_assignment_cuts_the_old_history_there():
    x, w = leaf(1.0, 2.0, 3.0), leaf(7.0)
    y = x * 2
    y[1] = w[0]
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 2] and w.grad.tolist() == [1]


def test_writes_to_transposed_and_nested_views():
    x = torch.arange(6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    y = x.clone()
    y.t()[1:][0].mul_(10)
    y.sum().backward()
    assert x.grad.tolist() == [[1, 10, 1], [1, 10, 1]]


def test_second_derivatives_through_a_written_view():
    x = leaf(2.0, 3.0)
    y = x.clone()
    y[0:1].pow_(3)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.tolist() == [12, 1] and second.tolist() == [12, 0]


def test_views_of_several_outputs_refuse_writes():
    x = leaf(1.0, 2.0, 3.0)
    first, _ = (x * 2).split([1, 2])
    with pytest.raises(RuntimeError, match="multiple views"):
        first.mul_(2)


def test_views_made_under_no_grad():
    x = leaf(1.0, 2.0)
    with torch.no_grad():
        view = x[:1]
    assert view.is_leaf
    with pytest.raises(RuntimeError, match="no_grad mode"):
        view.mul_(2)


def test_data_and_detach():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data.add_(10)  # unseen by the version count, as in PyTorch
    assert x._version == 0 and x.tolist() == [11, 12]
    y.backward()
    y = (x * x).sum()
    x.detach().add_(1)
    assert x._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.backward()


def test_expanded_memory_refuses_writes():
    x = torch.zeros(1).expand(3)
    with pytest.raises(RuntimeError, match="single memory location.*clone"):
        x.add_(1)
    assert x.tolist() == [0, 0, 0]


def test_failed_writes_change_nothing():
    x = torch.ones(3, dtype=torch.int64)
    for bad in (lambda: x.add_(1.5), lambda: x.add_(torch.ones(2, 3)), lambda: x.div_(2)):
        with pytest.raises(RuntimeError):
            bad()
    assert x.tolist() == [1, 1, 1] and x._version == 0


def test_overlapping_memory_in_place():
    x = torch.arange(6)
    x[1:].add_(x[:-1])
    assert x.tolist() == [0, 1, 3, 5, 7, 9]
