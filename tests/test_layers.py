"""The laws of the house, read off the source: import direction, no cycles, no hidden imports,
file and line length, and what `import iskra` may load.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "iskra"

# A room imports only from rooms of an earlier line; rooms on the same line are equals and never
# import each other. Files beside the rooms (__init__.py, __main__.py, ...) stand above them all.
ROOMS = (
    ("core",), ("runtime",), ("codegen",), ("tensor",), ("autograd",), ("graph",), ("dispatch",),
    ("ops",), ("nn", "optim", "data", "amp", "func", "distributions"), ("compile",),
    ("distributed",), ("compat",),
)
# PyTorch's module paths, as folders; above the rooms.
FACADES = {"backends", "cuda", "signal", "utils"}
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# Optional, or slow to import: these alone may be imported inside a function.
LATE = {"cupy", "cupyx", "llvmlite", "matplotlib", "ml_dtypes", "mpi4py", "multiprocessing",
        "numpy.random", "onnx", "safetensors", "scipy", "traceback"}
# Must not be loaded by `import iskra`.
NOT_AT_IMPORT = ("cupy", "iskra.codegen.ir", "iskra.runtime.jit", "iskra.runtime.quick", "llvmlite",
                 "matplotlib", "ml_dtypes", "mpi4py", "multiprocessing", "safetensors", "scipy",
                 "torch", "tqdm")


class Module:
    """One source file: its dotted name, its room, and its imports as (name, line, in function)."""

    def __init__(self, package: Path, path: Path):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.room = room_of(self.name)
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.imports = list(self._walk(self.tree, inside=False))

    def _walk(self, node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, child.lineno, inside
            elif isinstance(child, ast.ImportFrom):
                source = self._absolute(child)
                for alias in child.names:
                    yield f"{source}.{alias.name}", child.lineno, inside
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from self._walk(child, inside or function)

    def _absolute(self, node):
        if not node.level:
            return node.module
        keep = len(self.name.split(".")) - node.level + self.is_package
        return ".".join(self.name.split(".")[:keep] + ([node.module] if node.module else []))


def room_of(name):
    """The room a dotted name lies in; None for the package itself and what is not ours."""
    parts = name.split(".")
    return parts[1] if parts[0] == "iskra" and len(parts) > 1 and parts[1] in LEVEL else None


def read(package):
    modules = [Module(package, path) for path in sorted(package.rglob("*.py"))]
    return {module.name: module for module in modules}


def upward_imports(modules):
    """Imports against the order of the rooms, of an equal room, or of the package's own top."""
    for module in modules.values():
        if module.room is None:
            continue
        for name, line, _ in module.imports:
            if name.split(".")[0] != "iskra":
                continue
            target = room_of(name)
            if target is None:
                yield f"{module.name}:{line} imports {name}, which stands above every room"
            elif target != module.room and LEVEL[target] >= LEVEL[module.room]:
                yield f"{module.name}:{line} imports {name}, which is not above it"


def unknown_rooms(package):
    """Folders of the package that the list of rooms does not know."""
    for path in sorted(package.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and path.name not in {*LEVEL, *FACADES}:
            yield path.name


def import_cycle(modules):
    """The names along one import cycle, or an empty list."""
    edges = {
        name: [target for imported, _, _ in module.imports
               if (target := known(modules, imported)) and target != name]
        for name, module in modules.items()
    }
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return []
        path.append(name)
        found = next(filter(None, map(visit, edges[name])), [])
        path.pop()
        done.add(name)
        return found

    return next(filter(None, map(visit, edges)), [])


def known(modules, name):
    """The longest leading part of a dotted name that is one of our modules."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def hidden_imports(modules):
    """Imports inside functions, and imports by string, outside the few that are allowed."""
    for module in modules.values():
        for name, line, inside in module.imports:
            if inside and not LATE & {name.split(".")[0], ".".join(name.split(".")[:2])}:
                yield f"{module.name}:{line} imports {name} inside a function"
        if module.room in (None, "compat"):
            continue            # the top loads rooms on first use; the script runner loads scripts
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
                if not loads_own_part(module, node):
                    yield f"{module.name}:{node.lineno} imports by string"


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", None))


def loads_own_part(module, node):
    """Whether a package's __init__ loads a file of its own folder: on first use, or in a list."""
    name = node.args[0]
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
    text = name.value if isinstance(name, ast.Constant) else ""
    return module.is_package and text.startswith(module.name + ".")


def other_frameworks(modules):
    for module in modules.values():
        for name, line, _ in module.imports:
            if name.split(".")[0] in ("torch", "jax", "tensorflow"):
                yield f"{module.name}:{line} imports {name}"


def too_long(paths):
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 600:
            yield f"{path}: {len(lines)} lines"
        for number, line in enumerate(lines, 1):
            # An address cannot be broken; nothing else may be longer.
            if len(line) > 100 and "https://" not in line:
                yield f"{path}:{number}: {len(line)} columns"


@pytest.fixture(scope="module")
def modules():
    return read(PACKAGE)


def test_a_room_imports_only_from_rooms_above_it(modules):
    assert list(upward_imports(modules)) == []


def test_every_folder_is_a_known_room():
    assert list(unknown_rooms(PACKAGE)) == []


def test_no_import_cycle(modules):
    assert import_cycle(modules) == []


def test_no_hidden_imports(modules):
    assert list(hidden_imports(modules)) == []


def test_no_other_framework_is_imported(modules):
    assert list(other_frameworks(modules)) == []


def test_file_and_line_length():
    folders = ("src", "tests", "benchmarks", "examples", "tools", "docs")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert list(too_long(paths)) == []


def test_import_iskra_loads_nothing_slow():
    program = f"import sys, iskra; print([m for m in {NOT_AT_IMPORT} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            env={"PYTHONPATH": str(PACKAGE.parent)})
    assert result.stderr == ""
    assert result.stdout == "[]\n"


# The checks themselves, on small trees that break one law each.

@pytest.mark.parametrize(("files", "check", "complaint"), [
    ({"core/a.py": "from iskra.tensor import Tensor"}, upward_imports, "iskra.core.a:1"),
    ({"core/a.py": "from ..ops import add"}, upward_imports, "iskra.ops.add"),
    ({"nn/a.py": "import iskra.optim"}, upward_imports, "iskra.optim"),
    ({"nn/a.py": "import iskra"}, upward_imports, "above every room"),
    ({"core/a.py": "def f():\n    import json"}, hidden_imports, "core.a:2"),
    ({"core/a.py": "class A:\n    def f(self):\n        from iskra.core import b"},
     hidden_imports, "inside a function"),
    ({"core/a.py": "import importlib\nimportlib.import_module('iskra.ops')"},
     hidden_imports, "by string"),
    ({"core/__init__.py": "import importlib\nimportlib.import_module('iskra.ops')"},
     hidden_imports, "by string"),
    ({"core/a.py": "import torch.nn"}, other_frameworks, "torch.nn"),
])
def test_the_checks_find_what_they_look_for(tmp_path, files, check, complaint):
    found = list(check(read(tree(tmp_path, files))))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize("files", [
    {"nn/a.py": "from iskra.ops import add\nfrom iskra.nn import b", "nn/b.py": ""},
    {"core/a.py": "def f():\n    import scipy.special"},
    {"core/__init__.py": "import importlib\nimportlib.import_module(f'iskra.core.{name}')"},
    {"__init__.py": "import importlib\nimportlib.import_module('iskra.nn')"},
])
def test_the_checks_allow_what_is_allowed(tmp_path, files):
    modules = read(tree(tmp_path, files))
    assert list(upward_imports(modules)) == list(hidden_imports(modules)) == []


def test_the_cycle_check(tmp_path):
    files = {"core/__init__.py": "from iskra.core.a import f", "core/a.py": "import iskra.core.b",
             "core/b.py": "from iskra.core import f"}
    cycle = import_cycle(read(tree(tmp_path, files)))
    assert sorted(set(cycle)) == ["iskra.core", "iskra.core.a", "iskra.core.b"]
    files["core/b.py"] = "from iskra.core import c"
    assert import_cycle(read(tree(tmp_path, files | {"core/c.py": ""}))) == []


def test_the_length_check(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x = 1\n" * 601 + "#" * 101 + "\n")
    assert list(too_long([path])) == [f"{path}: 602 lines", f"{path}:602: 101 columns"]


def tree(folder, files):
    for name, text in files.items():
        path = folder / "iskra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "iskra"
