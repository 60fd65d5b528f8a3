"""How a tensor is written: PyTorch's printing rules, on NumPy arrays.

Everything here takes and returns plain arrays and strings, so the rules can be read and tested
without a Tensor. `Tensor.__repr__` hands its array and its facts to `format_tensor`.

Source of the rules: https://pytorch.org/docs/stable/generated/torch.set_printoptions.html and the
printed output of PyTorch itself, which the tests compare with.
"""

import contextlib
import math

import numpy as np

from iskra.core.naming import prefix

__all__ = ["format_tensor", "get_printoptions", "printoptions", "set_printoptions"]

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}

_options = {**_PROFILES["default"], "sci_mode": None}


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Set how tensors are printed; what is not given stays, except `sci_mode`.

    Args:
        precision: digits after the decimal point (4).
        threshold: more elements than this are summarised (1000).
        edgeitems: how many items a summary shows at either end of a dimension (3).
        linewidth: columns after which a line is broken (80).
        profile: "default", "short" or "full": sets the four above; those given win over it.
        sci_mode: True or False forces scientific notation on or off. None, which every call
            without it means, decides by the values.

    Raises ValueError for an unknown profile. As PyTorch's `torch.set_printoptions`.

    >>> import iskra as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    if profile is not None:
        if profile not in _PROFILES:
            known = ", ".join(repr(name) for name in _PROFILES)
            raise ValueError(f"set_printoptions: no profile {profile!r}; there are {known}")
        _options.update(_PROFILES[profile])
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    _options.update((name, value) for name, value in given.items() if value is not None)
    _options["sci_mode"] = sci_mode


def get_printoptions():
    """The printing options in force, as a new dict that `set_printoptions(**it)` takes back.

    >>> import iskra as torch
    >>> torch.get_printoptions()["edgeitems"]
    3
    """
    return dict(_options)


@contextlib.contextmanager
def printoptions(**options):
    """Print with other options inside a `with` block; takes what `set_printoptions` takes.

    >>> import iskra as torch
    >>> with torch.printoptions(sci_mode=True):
    ...     print(torch.tensor([1.5]))
    tensor([1.5000e+00])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def format_tensor(
    array,
    *,
    dtype,
    device="cpu",
    requires_grad=False,
    grad_fn=None,
    is_parameter=False,
    default_dtype=None,
    indent=0,
    shape=None,
    class_name="tensor",
    tangent=None,
):
    """The text `repr(tensor)` gives.

    Args:
        array: the values, an ndarray (NumPy's or CuPy's); None for a meta tensor.
        dtype: its dtype (`iskra.core.dtype`): bfloat16 and float8 arrays say so here.
        device: device or its name; every device but the CPU is printed.
        requires_grad: prints `requires_grad=True` for a leaf.
        grad_fn: the node that made the tensor (its `name()` is printed), or that name.
        is_parameter: puts "Parameter containing:" on a line of its own before the tensor.
        default_dtype: the dtype that goes without saying; None asks for float32.
        indent: columns already taken on the line where the text will stand.
        shape: sizes, needed for a meta tensor only.
        class_name: what stands before the bracket; a subclass gives its own name.
        tangent: text of the forward-mode tangent, if there is one.
    """
    shape = tuple(array.shape if shape is None else shape)
    head = class_name + "("
    indent += len(head)
    default_name = "float32" if default_dtype is None else default_dtype.name
    device = str(device)
    empty = 0 in shape
    if device == "meta":
        body = "..."
    elif empty:
        body = "[]"
    elif shape and _options["edgeitems"] == 0 and array.size > _options["threshold"]:
        body = "[...]"
    else:
        body = _body(array, dtype, indent)
    notes = _notes(shape, dtype.name, default_name, device, empty)
    if grad_fn is not None:
        notes.append(f"grad_fn=<{_node_name(grad_fn)}>")
    elif requires_grad:
        notes.append("requires_grad=True")
    if tangent is not None:
        notes.append(f"tangent={tangent}")
    text = _append_notes(head + body, notes, indent)
    return "Parameter containing:\n" + text if is_parameter else text


def _notes(shape, name, default_name, device, empty):
    """What must be said beside the values: device, size where they do not show it, dtype."""
    notes = []
    if not device.startswith("cpu"):
        notes.append(f"device='{device}'")
    hidden = empty or device == "meta"
    unseen = len(shape) != 1 if empty else _options["edgeitems"] == 0
    if device == "meta" or unseen:
        notes.append(f"size={shape}")
    implied = {default_name}
    if not hidden:
        # Values show that they are integers, truth values or complex numbers.
        complex_of = {"float64": "complex128", "float16": "complex32"}
        implied |= {"int64", "bool", complex_of.get(default_name, "complex64")}
    if name not in implied:
        notes.append(f"dtype={prefix()}.{name}")
    return notes


def _node_name(grad_fn):
    if isinstance(grad_fn, str):
        return grad_fn
    name = getattr(grad_fn, "name", None)
    return name() if callable(name) else type(grad_fn).__name__


def _append_notes(text, notes, indent):
    """Close the bracket, with the notes on the last line as far as they fit."""
    # The counting, with two columns in hand for the comma and the bracket, is PyTorch's.
    column = len(text) - text.rfind("\n") + 1
    for note in notes:
        if column + len(note) + 2 > _options["linewidth"]:
            text += ",\n" + " " * indent + note
            column = indent + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text + ")"


def _body(array, dtype, indent):
    """The values of a tensor that has some, nested in brackets."""
    values, cuts = _visible(array)
    if dtype.is_complex:
        values = _as_complex(values)
        cell = _ComplexCell(values)
    elif dtype.is_floating_point:
        cell = _FloatCell(values.astype(np.float64))
    else:
        cell = _ExactCell(values)
    return _nested(values.tolist(), cell, cuts, indent)


def _as_complex(values):
    """NumPy has no half-precision complex numbers; they come as opaque pairs of halves."""
    if values.dtype.kind == "c":
        return values
    pairs = np.ascontiguousarray(values).view(np.float16).reshape(*values.shape, 2)
    return pairs[..., 0] + 1j * pairs[..., 1].astype(np.float32)


def _visible(array):
    """The part of the array that is printed, on the host, and per dimension: where "..." goes."""
    edge = _options["edgeitems"]
    cuts = [None] * array.ndim
    if array.size > _options["threshold"]:
        for axis, size in enumerate(array.shape):
            if size > 2 * edge:
                cuts[axis] = edge
                kept = [*range(edge), *range(size - edge, size)]
                array = array[(slice(None),) * axis + (kept,)]
    if hasattr(array, "get"):  # CuPy: only what is shown travels
        array = array.get()
    return array, cuts


def _nested(values, cell, cuts, indent):
    """Text of nested lists: rows on the innermost level, blocks on the others."""
    if not cuts:
        return cell(values)
    if len(cuts) == 1:
        return _row(values, cell, cuts[0], indent)
    blocks = [_nested(value, cell, cuts[1:], indent + 1) for value in values]
    if cuts[0] is not None:
        blocks.insert(cuts[0], "...")
    gap = "," + "\n" * (len(cuts) - 1) + " " * (indent + 1)
    return "[" + gap.join(blocks) + "]"


def _row(values, cell, cut, indent):
    """Text of a vector, broken into lines of as many elements as the width allows."""
    words = [cell(value) for value in values]
    if cut is not None:
        words.insert(cut, " ...")
    room = _options["linewidth"] - indent
    per_line = max(1, math.floor(room / (cell.width + 2)))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


class _ExactCell:
    """Writes integers and truth values, right-aligned to the widest."""

    def __init__(self, values):
        self.width = max((len(str(value)) for value in values.ravel().tolist()), default=1)

    def __call__(self, value):
        return str(value).rjust(self.width)


class _FloatCell:
    """Writes real numbers in one notation that suits all of them.

    Whole numbers end in a bare point ("3."), numbers of like size get a fixed number of digits,
    and numbers of very unlike or extreme size get an exponent.
    """

    def __init__(self, values):
        self.width = 1
        self.whole = True
        self.scientific = False
        telling = values[np.isfinite(values) & (values != 0)]
        if telling.size:
            self._choose(telling)

    def _choose(self, values):
        precision = _options["precision"]
        sizes = np.abs(values)
        low, high = float(sizes.min()), float(sizes.max())
        self.whole = bool((values == np.ceil(values)).all())
        self.scientific = _options["sci_mode"]
        if self.scientific is None:
            uneven = high / low > 1000.0 or high > 1.0e8
            self.scientific = uneven or (not self.whole and low < 1.0e-4)
        if self.scientific:
            form, point = f"%.{precision}e", 0
        elif self.whole:
            form, point = "%.0f", 1
        else:
            form, point = f"%.{precision}f", 0
        widest = max(len(form % value) for value in values.tolist())
        self.width = max(self.width, widest + point)

    def __call__(self, value):
        if self.scientific:
            word = f"{value:.{_options['precision']}e}"
        elif self.whole:
            word = f"{value:.0f}"
            if math.isfinite(value):
                word += "."
        else:
            word = f"{value:.{_options['precision']}f}"
        return word.rjust(self.width)


class _ComplexCell:
    """Writes complex numbers: the two parts each in a notation of their own."""

    def __init__(self, values):
        self.real = _FloatCell(values.real.astype(np.float64))
        self.imag = _FloatCell(values.imag.astype(np.float64))
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value):
        imag = self.imag(value.imag).lstrip() + "j"
        sign = "" if imag[0] in "+-" else "+"
        return self.real(value.real) + sign + imag
