"""`python -m iskra`: PyTorch programs, as `python` would run them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def run(tmp_path):
    """Run `python -m iskra` in a folder of its own; files given by name lie there."""

    def start(*arguments, files=None, stdin="", options=(), interpreter=("-m", "iskra")):
        for name, text in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(
            [sys.executable, *options, *interpreter, *arguments],
            input=stdin, capture_output=True, text=True, cwd=tmp_path, env=environment,
        )

    return start


FACTS = """
    import json, sys, torch
    main = sys.modules["__main__"]
    print(json.dumps({
        "argv": sys.argv, "name": __name__, "file": globals().get("__file__"),
        "path": sys.path[0], "package": __package__, "spec": __spec__ and __spec__.name,
        "same": main.__dict__ is globals(),
    }))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["facts.py", "-x", "1"],
        ["sub/facts.py"],
        ["./sub/../facts.py"],
        ["-m", "facts", "-m", "x"],
        ["-m", "package"],
        ["-m", "package.inner", "a"],
        ["-c", textwrap.dedent(FACTS), "a"],
        ["-", "a"],
        ["package", "a"],
    ],
    ids=lambda a: " ".join(a)[:20],
)
def test_a_program_finds_what_python_gives_it(run, arguments):
    """The same facts under `python -m iskra` as under `python`, apart from `torch`."""
    files = {
        "facts.py": FACTS, "sub/facts.py": FACTS, "package/__main__.py": FACTS,
        "package/__init__.py": "", "package/inner.py": FACTS, "stub/torch.py": "",
    }
    stdin = textwrap.dedent(FACTS)
    ours = run(*arguments, files=files, stdin=stdin)
    assert ours.stderr == ""
    preamble = "import sys; sys.modules['torch'] = sys\n"
    if arguments[0] == "-c":
        plain = run("-c", preamble + arguments[1], *arguments[2:], interpreter=())
    elif arguments[0] == "-":
        plain = run(*arguments, stdin=preamble + stdin, interpreter=())
    else:
        files = {n: preamble + textwrap.dedent(t) for n, t in files.items() if "facts" in t
                 or "json" in t}
        plain = run(*arguments, files=files, interpreter=())
    assert plain.returncode == 0, plain.stderr
    assert json.loads(ours.stdout) == json.loads(plain.stdout)


IMPORTS = """
    import sys
    import torch
    import torch.nn.functional as F
    import torch.cuda, torch.backends.cudnn as cudnn
    from torch import Tensor, nn
    from torch.utils.data import DataLoader, TensorDataset
    from torch.utils.data.sampler import RandomSampler
    from torch.utils.checkpoint import checkpoint
    from torch.optim.lr_scheduler import StepLR
    import torch.utils.data as tud
    import iskra, iskra.nn.functional, iskra.data

    assert torch is iskra and F is iskra.nn.functional and nn is iskra.nn is torch.nn
    assert DataLoader is iskra.data.DataLoader is tud.DataLoader
    assert RandomSampler is iskra.data.RandomSampler
    assert iskra.__spec__.name == "iskra" and iskra.nn.__spec__.name == "iskra.nn"
    assert torch.__name__ == "iskra" and "torch" in sys.modules
    print(torch.float32, torch.Size([1]), repr(torch.ones(1, dtype=torch.float64)))
    print(torch.__version__ >= "2.1", torch.version.cuda, torch.cuda.is_available())
    cudnn.benchmark = True
    print(torch.backends.cudnn.benchmark)
"""


def test_torch_is_iskra(run):
    result = run("a.py", files={"a.py": IMPORTS})
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "torch.float32 torch.Size([1]) tensor([1.], dtype=torch.float64)",
        "True None False",
        "True",
    ]


def test_iskra_wins_over_an_installed_torch(run):
    fake = {"torch/__init__.py": "raise SystemError('the other one')", "a.py": "import torch.nn"}
    assert run("a.py", files=fake).returncode == 0


MISSING = """
    import importlib.util
    import torch
    for name in ("torch.zork", "torch.nn.zork.deep", "torch.version.deeper"):
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            print(error.name, "|", error)
    try:
        torch.no_such_thing
    except AttributeError as error:
        print(error)
    try:
        from torch import no_such_thing
    except ImportError as error:
        print(type(error).__name__)
"""


def test_what_iskra_lacks_is_named(run):
    result = run("a.py", files={"a.py": MISSING})
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("torch.zork | No module named 'torch.zork'")
    assert lines[0].endswith("has no module 'iskra.zork'")
    assert lines[1].startswith("torch.nn.zork |")
    assert lines[2].startswith("torch.version.deeper |")
    assert "no_such_thing" in lines[3] and lines[4] == "ImportError"


WORKERS = """
    import multiprocessing, sys
    import torch

    class Item:
        def __init__(self, value):
            self.value = value

    def work(item):
        return Item(item.value + 1), __name__, str(torch.float32), sys.argv[1:]

    if __name__ == "__main__":
        sys.argv = sys.argv[:]
        for method in ("fork", "spawn", "forkserver"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                (item, name, dtype, argv), = pool.map(work, [Item(1)])
            print(method, type(item) is Item, item.value, name, dtype, argv)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork is for POSIX")
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("way", ["file", "module"])
def test_the_program_can_be_imported_by_its_workers(run, way):
    arguments = ["a.py", "x"] if way == "file" else ["-m", "a", "x"]
    result = run(*arguments, files={"a.py": WORKERS})
    assert result.stdout.splitlines() == [
        "fork True 2 __main__ torch.float32 ['x']",
        "spawn True 2 __mp_main__ torch.float32 ['x']",
        "forkserver True 2 __mp_main__ torch.float32 ['x']",
    ], result.stderr


LOADER = """
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Squares(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return torch.tensor([float(i * i)])

    def twice(batch):
        return 2 * torch.stack(batch)

    if __name__ == "__main__":
        for context in ("fork", "spawn"):
            loader = DataLoader(Squares(), batch_size=4, num_workers=2, collate_fn=twice,
                                multiprocessing_context=context)
            print(context, [b.flatten().tolist() for b in loader])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork is for POSIX")
def test_a_loader_with_workers(run):
    result = run("a.py", files={"a.py": LOADER})
    batches = "[[0.0, 2.0, 8.0, 18.0], [32.0, 50.0, 72.0, 98.0]]"
    assert result.stdout.splitlines() == [f"fork {batches}", f"spawn {batches}"], result.stderr


ERRORS = """
    import sys

    def fail():
        try:
            import torch.zork
        except ImportError as error:
            raise ValueError("told you") from error

    kind = sys.argv[1]
    if kind == "raise":
        fail()
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "exit":
        sys.exit(7)
    if kind == "exit text":
        sys.exit("the end")
    if kind == "hook":
        sys.excepthook = lambda *info: print("hook", info[0].__name__)
        1 / 0
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("one")])
"""


def test_tracebacks_begin_with_the_program(run, tmp_path):
    result = run("a.py", "raise", files={"a.py": ERRORS})
    assert result.returncode == 1
    places = [line for line in result.stderr.splitlines() if line.startswith("  File")]
    file = tmp_path / "a.py"
    assert places == [
        f'  File "{file}", line 6, in fail',
        f'  File "{file}", line 12, in <module>',
        f'  File "{file}", line 8, in fail',
    ]
    assert result.stderr.endswith("ValueError: told you\n")
    assert "import torch.zork\n" in result.stderr


@pytest.mark.parametrize(
    ("kind", "status", "error", "out"),
    [
        ("interrupt", 130, "KeyboardInterrupt\n", ""),
        ("exit", 7, "", ""),
        ("exit text", 1, "the end\n", ""),
        ("hook", 1, "", "hook ZeroDivisionError\n"),
        ("group", 1, "+------------------------------------\n", ""),
        ("fine", 0, "", ""),
    ],
)
def test_how_a_program_ends(run, kind, status, error, out):
    result = run("a.py", kind, files={"a.py": ERRORS})
    assert (result.returncode, result.stdout) == (status, out)
    assert result.stderr.endswith(error)
    assert "runner.py" not in result.stderr and "runpy" not in result.stderr


def test_a_syntax_error_shows_the_line(run):
    result = run("a.py", files={"a.py": "import torch\nx = (\n"})
    assert result.returncode == 1
    assert "a.py\", line 2\n" in result.stderr and "SyntaxError: '(' was never" in result.stderr
    assert "Traceback" not in result.stderr and "runner" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ([], 2, "usage: python -m iskra"),
        (["nowhere.py"], 2, "can't open file"),
        (["-m"], 2, "argument expected for -m"),
        (["-m", "nowhere"], 1, "no module named nowhere"),
        (["-m", "nowhere.inside"], 1, "nowhere"),
        (["-q"], 2, "unknown option -q"),
        (["."], 1, "can't find '__main__' module in '.'"),
    ],
)
def test_nothing_to_run(run, arguments, status, text):
    result = run(*arguments)
    assert result.returncode == status and text in result.stderr and result.stdout == ""
    assert "Traceback" not in result.stderr


def test_help_and_version(run):
    assert run("--help").stdout.startswith("usage: python -m iskra")
    assert run("--version").stdout.startswith("Iskra 0.")


def test_a_zip_archive(run, tmp_path):
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as z:
        z.writestr("__main__.py", "import torch, helper; print(torch.float32, helper.x)")
        z.writestr("helper.py", "x = 5")
    assert run("app.zip").stdout == "torch.float32 5\n"


def test_safe_path_is_respected(run):
    files = {"a.py": "import sys; print(sys.path[0])", "helper.py": ""}
    ours = run("a.py", files=files, options=("-P",))
    assert ours.stdout == run("a.py", options=("-P",), interpreter=()).stdout


def test_the_future_of_iskra_is_not_that_of_the_program(run):
    """Flags of the files of Iskra do not leak into the program, which may have its own."""
    source = "from __future__ import annotations\ndef f(x: nothing): ...\nprint(f.__annotations__)"
    assert run("a.py", files={"a.py": source}).stdout == "{'x': 'nothing'}\n"


SPAWN = """
    import sys
    import torch.multiprocessing as mp

    def work(index, text):
        if text == "fail" and index == 1:
            raise ValueError("in the child")
        if text == "die" and index == 0:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdout.write(f"{index} {text}\\n")  # one write, so that lines stay whole

    if __name__ == "__main__":
        mp.set_sharing_strategy("file_system")
        try:
            mp.spawn(work, args=(sys.argv[1],), nprocs=2)
        except mp.ProcessRaisedException as error:
            print("raised", error.error_index, "in the child" in str(error))
        except mp.ProcessExitedException as error:
            print("died", error.error_index, error.signal_name)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are for POSIX")
def test_spawning_processes(run):
    files = {"a.py": SPAWN}
    assert sorted(run("a.py", "fine", files=files).stdout.split("\n")) == ["", "0 fine", "1 fine"]
    assert run("a.py", "fail").stdout.splitlines()[-1] == "raised 1 True"
    assert run("a.py", "die").stdout.splitlines()[-1] == "died 0 SIGKILL"


TRAINING = """
    import sys
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, TensorDataset

    read, written = sys.argv[1:]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    if read != "none":
        state = torch.load(read)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
    x = torch.randn(32, 4)
    data = TensorDataset(x, x.sum(1).sign().long() + 1)
    for epoch in range(2):
        for inputs, labels in DataLoader(data, batch_size=8, shuffle=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"{epoch} {loss.item():.4f} {schedule.get_last_lr()}")
    print(model[3].bias)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(), "random": torch.get_rng_state()}, written)
"""


def test_training_goes_on_from_the_other_ones_checkpoint(run):
    """The same script under both: the same transcript, and each resumes what the other saved."""
    pytest.importorskip("torch")
    files = {"a.py": TRAINING}
    ours = run("a.py", "none", "ours.pt", files=files)
    theirs = run("a.py", "none", "theirs.pt", interpreter=())
    assert ours.stderr == "" and len(ours.stdout.splitlines()) == 4
    assert ours.stdout == theirs.stdout
    ours = run("a.py", "theirs.pt", "ours2.pt")
    theirs = run("a.py", "ours.pt", "theirs2.pt", interpreter=())
    assert ours.stderr == theirs.stderr == ""
    assert ours.stdout == theirs.stdout
