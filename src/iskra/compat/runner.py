"""Running a program written for PyTorch, unchanged: ``python -m iskra script.py``.

Inside that process ``torch`` is another name for ``iskra``: `TorchFinder` answers every import of
``torch`` and of what lies in it with the very same module objects, and printed names say
``torch.``. The program gets the `__main__`, the `sys.argv` and the `sys.path` that ``python
script.py`` would give it, and its tracebacks begin with its own lines.
"""

import builtins
import importlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import types

from iskra.core import naming

USAGE = """\
usage: python -m iskra script.py [arguments]
       python -m iskra -m module [arguments]
       python -m iskra -c code   [arguments]
       python -m iskra -         [arguments]     (the program comes from standard input)

Runs a program that says `import torch`, on Iskra. PyTorch need not be installed; if it is, the
program still gets Iskra.

  -h, --help      show this text
  -V, --version   show the version
"""


def main(arguments=None):
    """Run what the command line names; `arguments` replaces ``sys.argv[1:]``.

    Exits as Python does: with the program's own status, 1 after an exception, 2 where there is
    nothing to run.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments:
        _leave(USAGE, 2)
    first, rest = arguments[0], arguments[1:]
    if first in ("-h", "--help"):
        print(USAGE, end="")
        sys.exit(0)
    if first in ("-V", "--version"):
        print(f"Iskra {sys.modules['iskra'].__version__}")
        sys.exit(0)
    if first in ("-m", "-c") and not rest:
        _leave(f"python -m iskra: argument expected for {first}\n{USAGE}", 2)
    install()
    if first == "-m":
        _run(rest[1:], lambda: _module(rest[0]))
    elif first == "-c":
        _run(rest[1:], lambda: _code(rest[0], "<string>", "-c"))
    elif first == "-":
        _run(rest, lambda: _code(sys.stdin.read(), "<stdin>", "-"))
    elif first.startswith("-"):
        _leave(f"python -m iskra: unknown option {first}\n{USAGE}", 2)
    else:
        _run(rest, lambda: _script(first))


def _leave(message, status):
    print(message, end="" if message.endswith("\n") else "\n", file=sys.stderr)
    sys.exit(status)


# --- torch is iskra


def install():
    """Make ``torch`` another name for ``iskra`` in this process; a second call does nothing."""
    if not any(isinstance(finder, TorchFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchFinder())
    naming.set_prefix("torch")
    version = importlib.import_module("iskra.version")
    # Programs ask for features by this number; it names Iskra too.
    sys.modules["iskra"].__version__ = version.__version__ = version.torch


class TorchFinder:
    """Finds ``torch.x.y`` as the module ``iskra.x.y``.

    Raises ModuleNotFoundError, with the name that Iskra lacks, where there is none.
    """

    def find_spec(self, name, path=None, target=None):
        """The spec of a module of PyTorch's; None for all others."""
        if name != "torch" and not name.startswith("torch."):
            return None
        ours = "iskra" + name[len("torch"):]
        try:
            __import__(ours)
        except ModuleNotFoundError as error:
            if not f"{ours}.".startswith(f"{error.name}."):
                raise  # the module is there, and needs something that is not
            raise ModuleNotFoundError(
                f"No module named {name!r}: Iskra, which runs this program in PyTorch's place, "
                f"has no module {ours!r}", name=name,
            ) from None
        module = sys.modules[ours]
        loader = _Alias(module)
        origin = getattr(module, "__file__", None)
        is_package = hasattr(module, "__path__")
        return importlib.machinery.ModuleSpec(name, loader, origin=origin, is_package=is_package)


class _Alias:
    """Loads a module that is loaded already, under a second name."""

    def __init__(self, module):
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec  # the import system has put the second name there


# --- the program


def _run(arguments, prepare):
    """Run a program as `__main__`. `prepare` gives its code, its module and its ``argv[0]``."""
    try:
        code, main, name = prepare()
    except SyntaxError as error:
        _report(error.with_traceback(None))
    sys.argv = Arguments([name, *arguments])
    sys.modules["__main__"] = main
    try:
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        _report(error)


def _script(path):
    """A file, or a folder or zip archive that holds a `__main__.py`."""
    if os.path.isdir(path) or _is_zip(path):
        full = os.path.join(os.getcwd(), path)
        _set_first_path(full)
        spec = importlib.machinery.PathFinder.find_spec("__main__", [full])
        if spec is None:
            _leave(f"python -m iskra: can't find '__main__' module in {path!r}", 1)
        return spec.loader.get_code("__main__"), _new_main(spec, spec.origin), path
    full = os.path.join(os.getcwd(), path)  # not normalised: as Python itself does
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        _leave(
            f"python -m iskra: can't open file {full!r}: [Errno {error.errno}] {error.strerror}", 2
        )
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    main = _new_main(None, full)
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", full)
    return compile(source, full, "exec", dont_inherit=True), main, path


def _is_zip(path):
    with open(path, "rb") if os.path.isfile(path) else io.BytesIO() as file:
        return file.read(4) == b"PK\x03\x04"


def _module(name):
    """A module by its name, or a package's `__main__`."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        _leave(f"python -m iskra: error while finding module {name!r}: {error}", 1)
    if spec is None:
        _leave(f"python -m iskra: no module named {name}", 1)
    code = spec.loader.get_code(spec.name)
    return code, _new_main(spec, spec.origin), spec.origin


def _code(source, label, name):
    _set_first_path("")
    main = _new_main(None, label if name == "-" else None)
    return compile(source, label, "exec", dont_inherit=True), main, name


def _set_first_path(folder):
    """What ``python script.py`` puts first on the path; ``python -m`` had put the folder here."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _new_main(spec, file):
    """An empty `__main__`, with the attributes that Python gives it."""
    main = types.ModuleType("__main__")
    main.__builtins__ = builtins
    main.__spec__ = spec
    if spec is not None:
        main.__package__ = spec.parent
        main.__loader__ = spec.loader
    if file is not None:
        main.__file__ = file
        main.__cached__ = None
    return main


class Arguments(list):
    """`sys.argv`; where a new process receives it, that process has ``torch`` as well.

    Processes that `multiprocessing` spawns get the parent's `sys.argv` before they import the
    program anew, and with it they learn what the program means by ``torch``.
    """

    def __reduce__(self):
        return _receive, (list(self),)

    def __getitem__(self, index):
        item = list.__getitem__(self, index)
        return Arguments(item) if isinstance(index, slice) else item

    def copy(self):
        """A copy that still carries the news."""
        return Arguments(self)


def _receive(arguments):
    install()
    return Arguments(arguments)


# --- tracebacks


def _report(error):
    """Show an exception that the program did not catch, as Python would, and exit."""
    _clean(error, set())
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.last_exc = error
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
    # 130 is how shells report an interrupt.
    sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def _clean(error, seen):
    """Take this file's frames, and the import system's, out of the tracebacks."""
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _without_runner(error.__traceback__)
        _clean(error.__cause__, seen)
        for part in getattr(error, "exceptions", ()):
            _clean(part, seen)
        error = error.__context__


def _without_runner(entry):
    kept = None
    for one in reversed(list(_entries(entry))):
        name = one.tb_frame.f_code.co_filename
        if name == __file__ or name.startswith("<frozen importlib"):
            continue
        one.tb_next = kept
        kept = one
    return kept


def _entries(entry):
    while entry is not None:
        yield entry
        entry = entry.tb_next
