"""`Operator`: everything that is declared about one operator, and the table of all of them."""

import inspect
from operator import itemgetter

from iskra import graph
from iskra.core.dtypes import BOOL, COMPLEX, FLOATING, INTEGER

# name -> Operator, in the order of declaration. Functions, methods, in-place and out= forms,
# tests, stubs and docs are all derived from this table.
OPERATORS = {}

# Promotion kinds.
SAME = "same"  # the operands' common dtype: add, maximum
FLOAT = "float"  # the common dtype, integers and bools becoming the default dtype: exp, div
NONE = "none"  # dtypes are the body's own business

_CATEGORIES = {"bool": BOOL, "int": INTEGER, "float": FLOATING, "complex": COMPLEX}
MISSING = type("Missing", (), {"__repr__": lambda self: "<required>"})()
_ALIASES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other"}


class Signature:
    """The parameters of an operator's body, and how call arguments are laid onto them."""

    __slots__ = (
        "names", "positional", "required", "defaults", "position", "variadic", "rest", "extra",
        "demands",
    )

    def __init__(self, body, variadic):
        code = body.__code__
        plain, count = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        # ``*rest`` counts as one more positional parameter, whose value is a tuple;
        # ``**extra`` as a last keyword parameter, whose value is a dict.
        starred = code.co_varnames[count:]
        rest = starred[:1] if code.co_flags & inspect.CO_VARARGS else ()
        starred = starred[len(rest):]
        extra = starred[:1] if code.co_flags & inspect.CO_VARKEYWORDS else ()
        named = code.co_varnames[plain:count]
        self.names = code.co_varnames[:plain] + rest + named + extra
        self.positional = plain + len(rest)
        self.rest = plain if rest else None
        self.extra = len(self.names) - 1 if extra else None
        given = body.__defaults__ or ()
        self.required = plain - len(given)
        values = body.__kwdefaults__ or {}
        self.defaults = (
            (MISSING,) * self.required + given + ((),) * len(rest)
            + tuple(values.get(n, MISSING) for n in named) + (MISSING,) * len(extra)
        )
        # Whether there are keyword-only parameters without a default.
        self.demands = any(d is MISSING for d in self.defaults[self.required:])
        self.position = {name: i for i, name in enumerate(self.names)}
        for alias, name in _ALIASES.items():
            if name in self.position:
                self.position.setdefault(alias, self.position[name])
        self.variadic = None if variadic is None else self.position[variadic]


class Operator:
    """One operator. See `iskra.dispatch.declare` for what the fields mean to who declares one.

    What follows from the fields (the signature, positions of operands, the formulas) is worked out
    when it is first asked for: most programs use few of the many operators they import.
    """

    def __init__(
        self, body, kind, *, promote=NONE, ufunc=None, grad=None, operands=None, node=None,
        namespace="torch", method=None, function=True, inplace=False, out=True, aliases=(),
        samples=None, domain=None, accepts=None, outputs=1, result=None, computes=False,
        moves=False, variadic=None, autocast=None, storage=False, casts=False, scalars=False,
        numbers=True, uniform=None, work=None, repeats=False, hidden="",
        rearranges=False,
    ):
        self.name = body.__name__
        self.body = body
        self.kind = kind
        self.promote = promote
        self.ufunc = ufunc
        self.variadic = variadic
        self.declared_operands = operands
        self.grad = grad
        self.node = node or _camel_case(self.name) + "Backward0"
        self.namespace = namespace
        self.method = "torch" in namespace.split() if method is None else method
        self.function = function
        self.inplace = inplace
        self.out = out
        self.aliases = aliases
        self.samples = samples
        self.domain = domain
        self.accepts = None if accepts is None else {_CATEGORIES[a] for a in accepts.split()}
        # Names of results after the first, for the gradient's eyes and those of the composite that
        # calls the operator: they are outside any graph.
        self.hidden = tuple(hidden.split())
        self.outputs = 1 + len(self.hidden) if hidden else outputs
        self.result = result
        self.computes = computes
        self.moves = moves  # only moves or converts elements, which kernels can do too
        # From how many elements on kernels serve.
        self.large = 1 if work else graph.threshold(kind, ufunc)
        # How much there is to compute, told from the operands' arrays: the body is traced only
        # where that is little, because for more there are kernels in the body.
        self.work = work
        # The body runs kernels that follow from shapes and settings, and does nothing else.
        self.repeats = repeats or work is not None
        # Elements of the result are the operands' or zero, as shapes and settings have it.
        self.rearranges = rearranges
        self.has_kernels = computes or moves  # may: what can't be traced stays without
        self.autocast = autocast
        self.storage = storage  # the body is given (flat memory, NumPy dtype, offset), no array
        self.casts = casts  # the in-place form converts the result to any dtype
        self.uniform = uniform  # raises for operands of several dtypes, which it is given
        self.scalars = scalars  # operands after the first may be numbers, left to the body
        self.numbers = numbers  # promotion takes Python numbers for operands after the first
        self.doc = body.__doc__
        self.launches = {}  # of the kernel tier; see iskra.graph.tier
        self.direct = {}
        self.programs = {}
        self.paths = {}  # arguments -> ways that the body goes with numbers
        self.fixes_numbers = False  # its programs hold for one value of each number
        self.plans = {}  # dtype -> (function, result dtype, `large`): see iskra.dispatch.execute
        self.taken = {}  # dtype -> whether the body takes its arrays as they are
        self.one_dtype = promote is not NONE or uniform is not None
        self.node_classes = {}
        self.record_pair = None  # records calls of two operands; see iskra.dispatch.tape
        self.tape_plans = {}  # which targets want a gradient -> how to record the call
        self.list_plans = {}  # the same for calls with lists: that, and where their edges lie
        self.public = None  # the function users call
        self.quick = None  # what machine code knows of its calls; see iskra.dispatch.quick
        self.short = None  # the same without settings, where Python's operators use it
        self.out_variant = None
        self.inplace_variant = None

    def __getattr__(self, name):
        """Work out the derived fields when the first of them is asked for."""
        if name not in _DERIVED:
            raise AttributeError(f"operator {self.__dict__.get('name')} has no field '{name}'")
        self._derive()
        return self.__dict__[name]

    def _derive(self):
        signature = self.signature = Signature(self.body, self.variadic)
        position = signature.position
        self.operands = self._operands(self.declared_operands)
        self.formulas = formulas_of(self.grad, self)
        self.targets = tuple(dict.fromkeys(t for f in self.formulas for t in f.targets))
        # A node's name that depends on the arguments: what picks those that it names.
        self.pick_named = None if isinstance(self.node, str) else picker(
            [position[n] for n in parameters_of(self.node)]
        )
        self.settings = signature.defaults[signature.positional:]
        self.keywords = signature.names[signature.positional:] or None
        self.starred = signature.rest is not None or signature.extra is not None
        # The position of an `inplace=` parameter, which the door acts on.
        self.inplace_flag = position.get("inplace") if self.kind != "composite" else None
        # Keyword arguments that are the body's own business.
        self.setting_names = set(signature.names) - {
            signature.names[i] for i in self.operands
        } - {"inplace", "dtype", "out"}
        along = self.kind in ("reduction", "fused")  # these work along `dim` in `dtype`
        self.dim_index = position.get("dim") if along else None
        self.dtype_index = position.get("dtype") if along else None

    def _operands(self, names):
        """Positions of the parameters that are tensors by nature.

        Unless named (``operands="input weight bias"``): the first, or for pointwise operators
        all without a default.
        """
        signature = self.signature
        if names is not None:
            return tuple(signature.position[n] for n in names.split())
        return tuple(range(signature.required if self.kind == "pointwise" else 1))

    def select(self, function, bound):
        """Call `function` with those bound arguments that its parameters name."""
        code = function.__code__
        position = self.signature.position
        return function(*[bound[position[n]] for n in code.co_varnames[: code.co_argcount]])

    def compute(self, bound):
        """Run the body on bound (unwrapped) arguments."""
        if self.starred:
            return self._compute_starred(bound)
        if self.keywords is None:
            return self.body(*bound)
        split = self.signature.positional
        settings = bound[split:]
        for given, default in zip(settings, self.settings):
            if given is not default:
                return self.body(*bound[:split], **dict(zip(self.keywords, settings, strict=True)))
        return self.body(*bound[:split])

    def _compute_starred(self, bound):
        """Run a body with ``*args`` or ``**kwargs``."""
        signature = self.signature
        args = bound[: signature.positional]
        named = dict(zip(self.keywords or (), bound[signature.positional:], strict=True))
        if signature.rest is not None:
            args = (*args[:-1], *args[-1])
        if signature.extra is not None:
            named.update(named.pop(signature.names[-1]))
        return self.body(*args, **named)

    def __repr__(self):
        return f"<operator {self.name}>"


_DERIVED = frozenset((
    "signature", "operands", "formulas", "targets", "pick_named", "keywords", "settings",
    "starred", "inplace_flag", "setting_names", "dim_index", "dtype_index",
))


class Formula:
    """The gradient with respect to some parameters, and the values it needs, told by its names.

    The names of the function's parameters select what it is given: ``g`` is the gradient of the
    output (a tuple for several outputs), ``result`` the output, ``needs`` a tuple of bools (which
    of `targets` want a gradient), the name of a hidden result is that, outside the graph; the name
    of one of several results is that, the name of a parameter of the operator is its argument,
    and ``<name>_shape``, ``<name>_dtype``, ``<name>_stride``, ``<name>_offset`` describe a tensor
    argument without keeping it alive. Nothing else is saved for backward.
    """

    __slots__ = ("targets", "function", "names", "captures")

    def __init__(self, targets, function):
        self.targets = targets  # positions of parameters
        self.function = function
        self.names = function.names if function.__class__ is calling else parameters_of(function)
        self.captures = tuple(n for n in self.names if n not in ("g", "needs"))


class calling:
    """A formula that is one call of an operator, with arguments named as a formula's parameters.

    ``calling(relu_backward, "g result")`` means ``lambda g, result: relu_backward(g, result)``, and
    lets a backward pass that is not recorded itself run the operator's body straight away.
    """

    __slots__ = ("operator", "names")

    def __init__(self, function, names):
        self.operator = function.operator
        self.names = tuple(names.split())

    def __call__(self, *args):
        return self.operator.public(*args)


def picker(places):
    """A function that picks these places of a sequence, as a sequence."""
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places) if places else itemgetter(slice(0))


def parameters_of(function):
    """The names of a function's positional parameters."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def formulas_of(grad, operator):
    """Read a declaration's ``grad``: a function for the first operand, or a dict by parameter."""
    if grad is None:
        return ()
    position = operator.signature.position
    if callable(grad):
        return (Formula((operator.operands[0],), grad),)
    formulas = []
    for names, function in grad.items():
        names = (names,) if isinstance(names, str) else names
        formulas.append(Formula(tuple(position[n] for n in names), function))
    return tuple(formulas)


def body_operands(op):
    """How many operands an operator has, told without working out its signature."""
    if op.declared_operands is not None:
        return len(op.declared_operands.split())
    body = op.body
    required = body.__code__.co_argcount - len(body.__defaults__ or ())
    return required if op.kind == "pointwise" else 1


def _camel_case(name):
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def register(operator):
    """Enter an operator into the table."""
    if operator.name in OPERATORS:
        raise ValueError(f"operator {operator.name} is declared twice")
    OPERATORS[operator.name] = operator


def bind(op, args, kwargs):
    """Lay call arguments onto the operator's parameters; raise TypeError where they don't fit."""
    signature = op.signature
    if signature.variadic is not None:
        args = pack(args, signature.variadic)
    if signature.rest is not None and len(args) >= signature.rest:
        args = (*args[: signature.rest], args[signature.rest:])
    count = len(args)
    if signature.extra is not None:
        kwargs = _gather(signature, kwargs)
    if not kwargs and signature.required <= count <= signature.positional:
        return args + signature.defaults[count:]
    if count > signature.positional:
        raise TypeError(
            f"{op.name}() takes {signature.required} to {signature.positional} positional "
            f"arguments but {count} were given"
        )
    values = list(args + signature.defaults[count:])
    for key, value in kwargs.items():
        index = signature.position.get(key)
        if index is None:
            raise TypeError(f"{op.name}() got an unexpected keyword argument '{key}'")
        if index < count:
            raise TypeError(f"{op.name}() got multiple values for argument '{key}'")
        values[index] = value
    if count < signature.required or signature.demands:
        missing = [n for n, v in zip(signature.names, values, strict=True) if v is MISSING]
        if missing:
            raise TypeError(
                f'{op.name}() missing {len(missing)} required positional argument'
                f'{"s" if len(missing) > 1 else ""}: ' + ", ".join(f'"{n}"' for n in missing)
            )
    return tuple(values)


def _gather(signature, kwargs):
    """Keyword arguments, those without a parameter of their own inside ``**extra``."""
    extra = {k: v for k, v in kwargs.items() if k not in signature.position}
    named = {k: v for k, v in kwargs.items() if k in signature.position}
    return named | {signature.names[signature.extra]: extra}


def pack(args, index):
    """``view(2, 3)`` means ``view((2, 3))``."""
    rest = args[index:]
    if rest and rest[0].__class__ is int is rest[-1].__class__:
        return (*args[:index], rest)
    if len(rest) == 1 and (rest[0] is None or not hasattr(rest[0], "__index__")):
        return args
    if not rest or not all(hasattr(r, "__index__") for r in rest):
        return args
    return (*args[:index], rest)
