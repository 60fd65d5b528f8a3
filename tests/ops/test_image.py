"""Resizing, shuffling and sampling images: by hand, by mathematics, and against PyTorch."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn import functional as F


def draw(*shape, low=-1.0, high=1.0):
    return np.random.default_rng(len(shape)).uniform(low, high, shape)


def agree(ours, theirs, *arrays):
    """The same values and gradients from both functions of tensors."""
    reference = pytest.importorskip("torch")
    left = [torch.tensor(a, requires_grad=True) for a in arrays]
    right = [reference.tensor(a, requires_grad=True) for a in arrays]
    a, b = ours(*left), theirs(reference, *right)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
    (a * a).sum().backward()
    (b * b).sum().backward()
    for x, y in zip(left, right, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-8, atol=1e-11)


# ---------------------------------------------------------------- interpolate


def test_modes_by_hand():
    x = torch.tensor([[[0.0, 4.0]]])
    assert F.interpolate(x, size=4).flatten().tolist() == [0, 0, 4, 4]
    assert F.interpolate(x, size=3, mode="nearest").flatten().tolist() == [0, 0, 4]
    assert F.interpolate(x, size=3, mode="nearest-exact").flatten().tolist() == [0, 4, 4]
    assert F.interpolate(x, size=4, mode="linear").flatten().tolist() == [0, 1, 3, 4]
    aligned = F.interpolate(x, size=5, mode="linear", align_corners=True)
    assert aligned.flatten().tolist() == [0, 1, 2, 3, 4]
    assert F.interpolate(x, size=1, mode="area").flatten().tolist() == [2]


@pytest.mark.parametrize("mode, rank", [
    ("nearest", 2), ("nearest-exact", 2), ("linear", 1), ("bilinear", 2), ("bicubic", 2),
    ("trilinear", 3), ("area", 2),
])
def test_a_constant_stays_and_the_same_size_changes_nothing(mode, rank):
    flat = torch.full((1, 2, *[4] * rank), 3.0, dtype=torch.float64)
    resized = F.interpolate(flat, scale_factor=1.5, mode=mode)
    assert resized.shape == (1, 2, *[6] * rank)
    np.testing.assert_allclose(resized.numpy(), 3.0, rtol=1e-12)
    x = torch.tensor(draw(1, 2, *[4] * rank))
    np.testing.assert_allclose(F.interpolate(x, size=4, mode=mode).numpy(), x.numpy(), rtol=1e-12)


def test_bilinear_maps_a_plane_to_a_plane():
    rows, columns = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    plane = torch.tensor((2 * rows - columns)[None, None])
    wide = F.interpolate(plane, size=(5, 7), mode="bilinear", align_corners=True)[0, 0]
    rows, columns = np.meshgrid(np.linspace(0, 2, 5), np.linspace(0, 3, 7), indexing="ij")
    np.testing.assert_allclose(wide.numpy(), 2 * rows - columns, atol=1e-12)


def test_a_factor_may_be_taken_from_the_sizes_instead():
    x = torch.tensor(draw(1, 1, 5))
    given = F.interpolate(x, scale_factor=1.7, mode="linear")
    recomputed = F.interpolate(x, scale_factor=1.7, mode="linear", recompute_scale_factor=True)
    assert given.shape == recomputed.shape == (1, 1, 8)
    np.testing.assert_array_equal(
        recomputed.numpy(), F.interpolate(x, size=8, mode="linear").numpy()
    )
    assert abs(given - recomputed).max() > 1e-3


def test_antialiasing_averages_what_shrinking_would_skip():
    stripes = torch.tensor([1.0, 0.0] * 8).expand(1, 1, 16, 16)
    smooth = F.interpolate(stripes, size=4, mode="bilinear", antialias=True)
    np.testing.assert_allclose(smooth.numpy(), 0.5, atol=0.1)


def test_a_batch_of_none():
    assert F.interpolate(torch.ones(0, 2, 3, 4), scale_factor=2).shape == (0, 2, 6, 8)


@pytest.mark.parametrize("settings", [
    {"size": 3}, {"size": 9}, {"scale_factor": 1.7}, {"scale_factor": 0.6},
    {"scale_factor": 1.7, "recompute_scale_factor": True},
])
@pytest.mark.parametrize("mode, rank", [
    ("nearest", 1), ("nearest", 3), ("nearest-exact", 2), ("linear", 1), ("bilinear", 2),
    ("bicubic", 2), ("trilinear", 3), ("area", 1), ("area", 3),
])
def test_interpolate_is_pytorchs(mode, rank, settings):
    linear = mode in ("linear", "bilinear", "bicubic", "trilinear")
    for align_corners in (None, True) if linear else (None,):
        every = {"mode": mode, "align_corners": align_corners, **settings}
        agree(
            lambda x, every=every: F.interpolate(x, **every),
            lambda lib, x, every=every: lib.nn.functional.interpolate(x, **every),
            draw(2, 2, *(5, 6, 4)[:rank]),
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 4), (12, 9), (2, 11)])
def test_antialiasing_is_pytorchs(mode, size):
    agree(
        lambda x: F.interpolate(x, size, mode=mode, antialias=True),
        lambda lib, x: lib.nn.functional.interpolate(x, size, mode=mode, antialias=True),
        draw(1, 2, 8, 7),
    )


@pytest.mark.parametrize("shape, settings, error, message", [
    ((1, 1, 4), {}, ValueError, "either size or scale_factor"),
    ((1, 1, 4), {"size": 2, "scale_factor": 2}, ValueError, "only one of"),
    ((1, 1, 4, 4), {"size": (3,)}, ValueError, "same number of spatial dimensions"),
    ((1, 1, 4), {"size": 2, "recompute_scale_factor": True}, ValueError, "explicit size"),
    ((1, 1, 4), {"size": 2, "align_corners": True}, ValueError, "align_corners"),
    ((1, 1, 4), {"size": 2, "antialias": True}, ValueError, "[Aa]nti-alias"),
    ((1, 1, 4), {"size": 2, "mode": "bilinear"}, NotImplementedError, "needs 4D"),
    ((1, 1, 4), {"size": 2, "mode": "cubist"}, NotImplementedError, "cubist"),
    ((4,), {"size": 2}, NotImplementedError, None),
    ((1, 1, 4), {"size": 0}, RuntimeError, "greater than 0"),
    ((1, 1, 4), {"scale_factor": 0.1}, RuntimeError, "greater than 0"),
])
def test_what_interpolate_refuses(shape, settings, error, message):
    with pytest.raises(error, match=message):
        F.interpolate(torch.ones(shape), **settings)


# ---------------------------------------------------------------- shuffles


def test_pixels_move_where_they_should():
    x = torch.arange(2 * 8 * 3 * 2).reshape(2, 8, 3, 2)
    shuffled = F.pixel_shuffle(x, 2)
    assert shuffled.shape == (2, 2, 6, 4)
    # Channel c * r * r + i * r + j becomes row i, column j of every cell of channel c.
    assert torch.equal(shuffled[:, 1, 1::2, 0::2], x[:, 6])
    assert torch.equal(F.pixel_unshuffle(shuffled, 2), x)


def test_channels_are_dealt_out():
    x = torch.arange(6).reshape(1, 6, 1)
    assert F.channel_shuffle(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert torch.equal(F.channel_shuffle(F.channel_shuffle(x, 3), 2), x)


@pytest.mark.parametrize("name, shape, number, message", [
    ("pixel_shuffle", (4, 2), 2, "at least 3 dimensions"),
    ("pixel_shuffle", (3, 2, 2), 2, "divisible by the square"),
    ("pixel_shuffle", (4, 2, 2), 0, "positive"),
    ("pixel_unshuffle", (4, 2), 2, "at least 3 dimensions"),
    ("pixel_unshuffle", (1, 3, 2), 2, "divisible by downscale_factor"),
    ("pixel_unshuffle", (1, 2, 2), -1, "positive"),
    ("channel_shuffle", (2, 4), 2, "> 2 dims"),
    ("channel_shuffle", (1, 5, 2), 2, "divisible by groups"),
])
def test_what_shuffles_refuse(name, shape, number, message):
    with pytest.raises(RuntimeError, match=message):
        getattr(F, name)(torch.ones(shape), number)


# ---------------------------------------------------------------- grids


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_identity_grid_samples_the_image_itself(align_corners):
    x = torch.tensor(draw(2, 3, 4, 5))
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]] * 2, dtype=torch.float64)
    grid = F.affine_grid(theta, (2, 3, 4, 5), align_corners)
    for mode in ("bilinear", "nearest", "bicubic"):
        same = F.grid_sample(x, grid, mode, align_corners=align_corners)
        np.testing.assert_allclose(same.numpy(), x.numpy(), atol=1e-12)
    flipped = F.affine_grid(theta * torch.tensor([[-1.0], [1]]), (2, 3, 4, 5), align_corners)
    mirrored = F.grid_sample(x, flipped, align_corners=align_corners)
    np.testing.assert_allclose(mirrored.numpy(), x.numpy()[..., ::-1], atol=1e-12)


def test_outside_of_the_image():
    x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    grid = torch.tensor([[[[-5.0, 0.0], [5.0, 0.0]]]])

    def sample(padding):
        return F.grid_sample(x, grid, "nearest", padding, align_corners=True).flatten().tolist()

    assert sample("zeros") == [0, 0]
    assert sample("border") == [1, 3]
    assert sample("reflection") == [1, 3]  # -5 lies at -4 of 0..2, two spans away


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode, rank", [("bilinear", 2), ("bilinear", 3), ("bicubic", 2)])
def test_grid_sample_is_pytorchs(mode, rank, padding, align_corners):
    shape = (2, 3, 4)[:rank]
    agree(
        lambda x, g: F.grid_sample(x, g, mode, padding, align_corners),
        lambda lib, x, g: lib.nn.functional.grid_sample(x, g, mode, padding, align_corners),
        draw(2, 2, *(4, 5, 3)[:rank]), draw(2, *shape, rank, low=-1.6, high=1.6),
    )


@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 1, 3, 4, 2), (2, 1, 1, 4)])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
def test_affine_grid_is_pytorchs(size, align_corners):
    rank = len(size) - 2
    agree(
        lambda t: F.affine_grid(t, size, align_corners),
        lambda lib, t: lib.nn.functional.affine_grid(t, size, align_corners),
        draw(2, rank, rank + 1),
    )


@pytest.mark.parametrize("input, grid, settings, error, message", [
    ((1, 1, 2, 2), (2, 3, 3, 2), {}, RuntimeError, "same batch size"),
    ((1, 1, 2, 2), (1, 3, 3, 3), {}, RuntimeError, "size 2 in last dimension"),
    ((1, 1, 2, 0), (1, 3, 3, 2), {}, RuntimeError, "non-empty spatial"),
    ((1, 1, 2), (1, 3, 1), {}, RuntimeError, None),
    ((1, 1, 2, 2, 2), (1, 3, 3, 3, 3), {"mode": "bicubic"}, RuntimeError, "only supports 4D"),
    ((1, 1, 2, 2), (1, 3, 3, 2), {"mode": "cubist"}, ValueError, "cubist"),
    ((1, 1, 2, 2), (1, 3, 3, 2), {"padding_mode": "wrap"}, ValueError, "wrap"),
])
def test_what_grid_sample_refuses(input, grid, settings, error, message):
    with pytest.raises(error, match=message):
        F.grid_sample(torch.ones(input), torch.zeros(grid), align_corners=False, **settings)


@pytest.mark.parametrize("theta, size, error", [
    ((1, 3, 4), (1, 1, 2, 2), ValueError), ((1, 2, 3), (1, 1, 2, 2, 2), ValueError),
    ((1, 2, 3), (1, 1, 2), NotImplementedError), ((1, 2, 3), (1, 1, 0, 2), ValueError),
])
def test_what_affine_grid_refuses(theta, size, error):
    with pytest.raises(error, match=r"size|Got"):
        F.affine_grid(torch.ones(theta), size, align_corners=False)
    with pytest.raises(ValueError, match="floating point"):
        F.affine_grid(torch.ones(1, 2, 3, dtype=torch.int64), (1, 1, 2, 2), align_corners=False)


# ---------------------------------------------------------------- nearest, and far away


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("mode, name", [
    ("nearest", "UpsampleNearest{}DBackward0"), ("nearest-exact",
     "UpsampleNearestExact{}DBackward0"),
])
@pytest.mark.parametrize("settings", [
    {"size": 7}, {"size": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.5},
    {"scale_factor": 2.3, "recompute_scale_factor": True},
])
def test_nearest_gives_each_gradient_back_to_where_it_was_taken(shape, mode, name, settings):
    x = torch.arange(float(np.prod(shape))).reshape(shape).requires_grad_()
    y = F.interpolate(x, mode=mode, **settings)
    assert y.grad_fn.name() == name.format(len(shape) - 2)
    weights = torch.arange(float(y.numel())).reshape(y.shape)
    y.backward(weights)
    expected = torch.zeros(x.numel()).index_add_(
        0, y.detach().long().flatten(), weights.flatten()
    )
    assert torch.equal(x.grad.flatten(), expected)


def test_nearest_moves_numbers_of_any_dtype():
    for dtype in (torch.uint8, torch.bfloat16, torch.complex64):
        x = torch.tensor([[[1, 2]]]).to(dtype)
        y = F.interpolate(x, size=4)
        assert y.dtype is dtype and y.flatten().tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("size", [(3, 1.5), 2.5, "4"])
def test_interpolate_wants_whole_sizes(size):
    with pytest.raises((TypeError, ValueError)):
        F.interpolate(torch.ones(1, 1, 4, 4), size=size)


FAR = [float("inf"), -float("inf"), 1e20, -1e10]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_far_outside_have_no_part_in_the_image(mode, far):
    image = torch.ones(1, 1, 4, 4, requires_grad=True)
    grid = torch.full((1, 1, 2, 2), 0.1)
    grid[0, 0, 1] = far
    F.grid_sample(image, grid, mode, "zeros", align_corners=False)[0, 0, 0, 0].backward()
    assert image.grad.isfinite().all() and image.grad.sum() > 0.9
    image.grad = None
    y = F.grid_sample(image, grid, "nearest", "zeros", align_corners=False)
    assert y[0, 0, 0, 1] == 0


@pytest.mark.parametrize("far", FAR)
def test_the_border_goes_on_for_ever(far):
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    grid = torch.full((1, 1, 1, 2), far)
    corner = 15.0 if far > 0 else 0.0
    for mode in ("bilinear", "nearest"):
        y = F.grid_sample(image, grid, mode, "border", align_corners=True)
        assert y.item() == corner


@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_nan_stands_for_the_first_place(padding):
    image = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).requires_grad_()
    grid = torch.full((1, 1, 1, 2), float("nan"), requires_grad=True)
    y = F.grid_sample(image, grid, "bilinear", padding, align_corners=True)
    assert y.item() == 1
    y.backward()
    assert image.grad.sum() == 1 and image.grad[0, 0, 0, 0] == 1
    assert (grid.grad == 0).all()


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("settings", [
    {"size": (7, 23)}, {"size": (13, 8)}, {"size": (40, 41)}, {"scale_factor": 1.7},
    {"scale_factor": 0.6}, {"size": (7, 8), "align_corners": True},
    {"size": (5, 6), "antialias": True}, {"size": (30, 9), "antialias": True},
])
def test_images_of_bytes_are_resized_as_pytorch_does(mode, settings):
    reference = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 13, 17)).astype(np.uint8)
    ours = F.interpolate(torch.tensor(image), mode=mode, **settings)
    theirs = reference.nn.functional.interpolate(reference.tensor(image), mode=mode, **settings)
    assert ours.dtype is torch.uint8
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_bytes_are_rounded_and_kept_in_range():
    image = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    assert F.interpolate(image, size=(1, 4), mode="bilinear").flatten().tolist() == [0, 64, 191,
     255]
    sharp = F.interpolate(image, size=(1, 4), mode="bicubic").flatten()
    assert sharp[0] == 0 and sharp[-1] == 255
    with pytest.raises(NotImplementedError, match="Byte"):
        F.interpolate(image[0], size=4, mode="linear")
