"""Element types: `dtype` and its instances, `finfo`, `iinfo` and the default dtype.

Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html and type_info.html
"""

import numpy as np

from iskra.core.naming import prefix

# Categories, in the order in which type promotion climbs.
BOOL, INTEGER, FLOATING, COMPLEX = range(4)


class dtype:
    """The type of a tensor's elements, for example ``iskra.float32``.

    There is one object per type, so dtypes are compared with ``is`` or ``==``.

    >>> import iskra as torch
    >>> torch.float32, torch.float32.itemsize, torch.int64.is_floating_point
    (iskra.float32, 4, False)
    """

    __slots__ = (
        "name", "category", "itemsize", "is_floating_point", "is_complex", "is_signed",
        "scalar_name", "is_float8", "is_narrow", "_numpy",
    )

    def __init__(self, name, category, itemsize, scalar_name, is_signed=True):
        self.name = name
        self.category = category
        self.itemsize = itemsize
        self.is_floating_point = category == FLOATING
        self.is_complex = category == COMPLEX
        self.is_signed = is_signed
        self.scalar_name = scalar_name  # as PyTorch's error messages spell it
        self.is_float8 = name.startswith("float8")
        # Narrow floats are stored narrow and computed in float32.
        self.is_narrow = self.is_floating_point and itemsize < 4
        self._numpy = None

    @property
    def numpy(self):
        """The NumPy dtype that holds the elements."""
        if self._numpy is None:
            self._numpy = self._extension_type()
        return self._numpy

    def _extension_type(self):
        import ml_dtypes  # slow to import, and most programs never need it

        kind = np.dtype(getattr(ml_dtypes, self.name))
        _of_numpy[kind] = self
        return kind

    @property
    def abbr(self):
        """A short name: ``f32``, ``i64``, ``b8``."""
        letter = {BOOL: "b", INTEGER: "i" if self.is_signed else "u", FLOATING: "f", COMPLEX: "c"}
        if self.name == "bfloat16":
            return "bf16"
        return f"{letter[self.category]}{8 * self.itemsize}"

    def to_real(self):
        """The type of the real part: ``complex64.to_real()`` is ``float32``."""
        return {complex64: float32, complex128: float64, complex32: float16}.get(self, self)

    def to_complex(self):
        """The complex type of the same precision: ``float64.to_complex()`` is ``complex128``."""
        if self.is_complex:
            return self
        return {float64: complex128, float16: complex32}.get(self, complex64)

    def __repr__(self):
        return f"{prefix()}.{self.name}"

    def __reduce__(self):
        return named, (self.name,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


bool_ = dtype("bool", BOOL, 1, "Bool", is_signed=False)
uint8 = dtype("uint8", INTEGER, 1, "Byte", is_signed=False)
uint16 = dtype("uint16", INTEGER, 2, "UInt16", is_signed=False)
uint32 = dtype("uint32", INTEGER, 4, "UInt32", is_signed=False)
uint64 = dtype("uint64", INTEGER, 8, "UInt64", is_signed=False)
int8 = dtype("int8", INTEGER, 1, "Char")
int16 = dtype("int16", INTEGER, 2, "Short")
int32 = dtype("int32", INTEGER, 4, "Int")
int64 = dtype("int64", INTEGER, 8, "Long")
float16 = dtype("float16", FLOATING, 2, "Half")
bfloat16 = dtype("bfloat16", FLOATING, 2, "BFloat16")
float32 = dtype("float32", FLOATING, 4, "Float")
float64 = dtype("float64", FLOATING, 8, "Double")
complex32 = dtype("complex32", COMPLEX, 4, "ComplexHalf")
complex64 = dtype("complex64", COMPLEX, 8, "ComplexFloat")
complex128 = dtype("complex128", COMPLEX, 16, "ComplexDouble")
float8_e4m3fn = dtype("float8_e4m3fn", FLOATING, 1, "Float8_e4m3fn")
float8_e5m2 = dtype("float8_e5m2", FLOATING, 1, "Float8_e5m2")
float8_e4m3fnuz = dtype("float8_e4m3fnuz", FLOATING, 1, "Float8_e4m3fnuz")
float8_e5m2fnuz = dtype("float8_e5m2fnuz", FLOATING, 1, "Float8_e5m2fnuz")
float8_e8m0fnu = dtype("float8_e8m0fnu", FLOATING, 1, "Float8_e8m0fnu", is_signed=False)

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32,
    float64, complex64, complex128, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz,
    float8_e8m0fnu,
)
_by_name = {d.name: d for d in (*ALL, complex32)}
_by_name |= {
    "float": float32, "double": float64, "half": float16, "int": int32, "long": int64,
    "short": int16, "cfloat": complex64, "cdouble": complex128,
}
_of_numpy = {}
for _dtype in ALL:
    if not _dtype.is_float8 and _dtype is not bfloat16:
        _dtype._numpy = np.dtype(_dtype.name)
        _of_numpy[_dtype._numpy] = _dtype
complex32._numpy = np.dtype("V4")  # NumPy has no half-precision complex: storage only
_of_numpy[complex32._numpy] = complex32


def named(name):
    """Return the dtype called `name` (``"float32"``, ``"long"``)."""
    return _by_name[name]


def of_numpy(kind):
    """Return the dtype for a NumPy dtype; raise TypeError where there is none.

    >>> of_numpy(np.dtype("f8"))
    iskra.float64
    """
    try:
        return _of_numpy[kind]
    except KeyError:
        return _unusual(np.dtype(kind))


def _unusual(kind):
    """Types equal to one of ours under another name: long long, or those of ml_dtypes."""
    if kind.isnative:
        match = _by_name.get(kind.name)
        if match is not None and match.numpy == kind:
            _of_numpy[kind] = match
            return match
    raise TypeError(
        f"can't convert np.ndarray of type {kind}. The only supported types are: float64, "
        "float32, float16, bfloat16, complex64, complex128, int64, int32, int16, int8, uint64, "
        "uint32, uint16, uint8, and bool (in the machine's own byte order)."
    )


_default = float32


def get_default_dtype():
    """Return the dtype of tensors made from Python floats.

    >>> import iskra as torch
    >>> torch.get_default_dtype()
    iskra.float32
    """
    return _default


def set_default_dtype(d):
    """Make `d`, a floating-point dtype, that of tensors made from Python floats.

    Raises TypeError unless `d` is a floating-point dtype.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_default_dtype.html
    """
    global _default
    if not isinstance(d, dtype):
        raise TypeError(f"invalid dtype object: expected a dtype, got {type(d).__name__}")
    if not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    if d is not _default:
        _default = d
        for listener in default_listeners:
            listener()


# Memoised promotion tables depend on the default dtype and forget when it changes.
default_listeners = []


def of_scalar(value):
    """The dtype of a tensor made from the Python number `value`."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return _default
    if isinstance(value, complex):
        return _default.to_complex()
    raise TypeError(f"not a number: {type(value).__name__}")


class finfo:
    """Limits of a floating-point (or complex) dtype; the default dtype if none is given.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    __slots__ = ("dtype", "bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution")

    def __init__(self, type=None):
        kind = _default if type is None else type
        if not (kind.is_floating_point or kind.is_complex):
            raise TypeError(
                f"{prefix()}.finfo() requires a floating point input type. "
                f"Use {prefix()}.iinfo to handle {kind}"
            )
        kind = kind.to_real()
        limits = _float_limits(kind)
        self.dtype = kind.name
        self.bits = 8 * kind.itemsize
        self.eps = float(limits.eps)
        self.max = float(limits.max)
        self.min = float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = 1.0 if kind.is_float8 else float(limits.resolution)

    def __repr__(self):
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        body = ", ".join(f"{f}={getattr(self, f):g}" for f in fields)
        return f"finfo({body}, dtype={self.dtype})"


def _float_limits(kind):
    if kind is bfloat16 or kind.is_float8:
        import ml_dtypes

        return ml_dtypes.finfo(kind.numpy)
    return np.finfo(kind.numpy)


class iinfo:
    """Limits of an integer dtype.

    >>> iinfo(uint8).max
    255
    """

    __slots__ = ("dtype", "bits", "max", "min")

    def __init__(self, type):
        if type.category != INTEGER:
            what = "bool is not supported by" if type is bool_ else f"use {prefix()}.finfo, not"
            raise TypeError(f"{type}: {what} {prefix()}.iinfo, which requires an integer type")
        limits = np.iinfo(type.numpy)
        self.dtype = type.name
        self.bits = 8 * type.itemsize
        self.max = int(limits.max)
        self.min = int(limits.min)

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
