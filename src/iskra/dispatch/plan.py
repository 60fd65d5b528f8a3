"""`Plan`: what to save of a call, and how its formulas are given what they name."""

from operator import attrgetter

from iskra.core.local import active
from iskra.dispatch.operator import calling, picker
from iskra.dispatch.saving import save_input, save_item, save_outputs
from iskra.tensor import Parameter, Tensor

_SIMPLE = frozenset({int, float, bool, type(None), str})


class Plan:
    """How to record a call of `op` in which the parameters in `wanted` want a gradient.

    `names` are those of the values to save: arguments, picked by `pick`; `facts` about arguments;
    each formula's `needs`; `hidden` results, by their numbers; results by their names, in `items`
    with their numbers; last the result, if it `saves_result`. `steps` are the formulas as `_step`
    reads them, whose arguments are picked from ``(g, *what was saved)``. `places` tells where each
    parameter's edges lie; `plain` that each has just one. `direct` is the one formula's operator,
    if there is one formula and it calls one; `slots` say where its arguments are, `order` the
    places of its results; `run(node, g)` does it all in machine code, once that knows the
    operator's calls.
    """

    __slots__ = (
        "op", "names", "pick", "facts", "needs", "hidden", "items", "saves_result", "keeps",
        "steps", "node_class", "direct", "slots", "order", "run",
    )

    def __init__(self, op, wanted, places, plain):
        self.op = op
        formulas = _chosen(op.formulas, wanted)
        position = op.signature.position
        names = dict.fromkeys(n for f in formulas for n in f.captures)
        arguments = [n for n in names if n in position]
        hidden = [n for n in names if n in op.hidden]
        results = [n for n in names if n == "result"]
        found = op.result or ()
        self.items = {n: found.index(n) for n in names if n in found and n not in position}
        facts = [n for n in names
                 if n not in position and n not in (*hidden, *self.items, *results)]
        self.needs = [tuple([t in wanted for t in f.targets])
                      for f in formulas if "needs" in f.names]
        needs = [_needs(number) for number in range(len(self.needs))]
        self.hidden = [1 + op.hidden.index(n) for n in hidden]
        self.saves_result = bool(results)
        self.names = [*arguments, *facts, *needs, *hidden, *self.items, *results]
        self.pick = picker([position[n] for n in arguments])
        self.facts = [_fact(op, n) for n in facts]
        self.keeps = self.saves_result or bool(hidden or self.items) or any(
            position[n] in op.operands for n in arguments)
        self.steps = self._steps(formulas, places, plain)
        first, direct = formulas[0].function, None
        if plain and len(formulas) == 1 and first.__class__ is calling:
            direct = first.operator
        self.direct, self.run = direct, None
        self.order = [places[t][0] for t in formulas[0].targets]

    def _steps(self, formulas, places, plain):
        self.slots, steps, seen = None, [], 0
        for formula in formulas:
            position = {name: place for place, name in enumerate(self.names, 1)}
            position["g"] = 0
            if "needs" in formula.names:
                position["needs"] = position[_needs(seen)]
                seen += 1
            slots = [position[n] for n in formula.names]
            steps.append(_step(formula, slots, places, plain))
            self.slots = self.slots or slots  # the first one's
        return steps

    def collect(self, bound, outputs):
        """The values to save in the order of `names`, and what to check when they are used.

        The checks are pairs: a value's place, and its version or `RESTORED`.
        """
        saved, checks = [*self.pick(bound)], []
        for place, value in enumerate(saved):
            cls = value.__class__
            if (cls is Tensor or cls is Parameter) and not active.watching:
                storage = value._storage
                checks.append((place, 0 if storage is None else storage.version))
            elif cls not in _SIMPLE:
                saved[place], version = save_input(value)
                if version is not None:
                    checks.append((place, version))
        for index, describe in self.facts:
            saved.append(describe(bound[index]))
        saved += self.needs
        saved += [outputs[number] for number in self.hidden]  # nobody writes to these
        for number in self.items.values():
            value, version = save_item(outputs[number], number)
            checks.append((len(saved), version))
            saved.append(value)
        if self.saves_result:
            value, version = save_outputs(outputs)
            if version is not None:
                checks.append((len(saved), version))
            saved.append(value)
        return saved, checks


def _needs(number):
    """The name under which `needs` is saved, of the formula with this number among such."""
    return f"needs {number}"


def _chosen(formulas, wanted):
    """The formulas of a call: one for several parameters goes before those for each of them.

    It is taken where all of them want a gradient, or where there is no other.
    """
    chosen, left = [], set(wanted)
    for formula in sorted(formulas, key=lambda f: -len(f.targets)):
        if left.issuperset(formula.targets):
            chosen.append(formula)
            left.difference_update(formula.targets)
    for formula in formulas:
        if not left.isdisjoint(formula.targets):
            chosen.append(formula)
            left.difference_update(formula.targets)
    return chosen


def _step(formula, slots, places, plain):
    """``(function, how to pick its arguments, the result's place or None, all places)``.

    Nothing is picked for a function of the gradient alone.
    """
    pick = None if slots == [0] else picker(slots)
    places = [places[t] for t in formula.targets]
    return formula.function, pick, places[0][0] if plain and len(places) == 1 else None, places


def _fact(op, name):
    """The position of a parameter and the function that tells a fact of it."""
    owner, _, fact = name.rpartition("_")
    return op.signature.position[owner], _FACTS[fact]


def _each(describe):
    def described(value):
        if isinstance(value, Tensor):
            return describe(value)
        if isinstance(value, (list, tuple)):
            return tuple(described(v) for v in value)
        return None

    return described


_FACTS = {
    "shape": _each(attrgetter("_array.shape")),
    "dtype": _each(attrgetter("_dtype")),
    "stride": _each(Tensor.stride),
    "offset": _each(Tensor.storage_offset),
}
