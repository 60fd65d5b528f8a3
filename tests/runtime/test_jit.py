"""The JIT engine: what it loads, caches, links and refuses."""

import ctypes
import os
import subprocess
import sys
import threading

import pytest

from iskra.runtime import cache, jit

ADD = """
define i64 @add(i64 %a, i64 %b) {{
  %sum = add i64 %a, %b
  %result = add i64 %sum, {}
  ret i64 %result
}}
"""


def call(code, name, *arguments):
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(arguments))
    return function(code.address(name))(*arguments)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A cache of the test's own; what is loaded already is forgotten."""
    fresh = cache.ObjectCache(tmp_path / "kernels")
    monkeypatch.setattr(cache, "default_cache", lambda: fresh)
    monkeypatch.setattr(jit, "_loaded", {})
    return fresh


def counted(monkeypatch):
    """The list that grows by one at every compilation."""
    compiled, compile = [], jit._Target.compile

    def counting(self, text, *rest):
        compiled.append(text)
        return compile(self, text, *rest)

    monkeypatch.setattr(jit._Target, "compile", counting)
    return compiled


def test_code_runs():
    assert call(jit.load(ADD.format(0)), "add", 40, 2) == 42


def test_modules_may_use_the_same_names():
    codes = [jit.load(ADD.format(1000 + i)) for i in range(20)]
    assert [call(code, "add", 1, 2) for code in codes] == [1003 + i for i in range(20)]


def test_the_same_text_is_loaded_once():
    assert jit.load(ADD.format(3)) is jit.load(ADD.format(3))


def test_other_passes_make_other_code():
    assert jit.load(ADD.format(4)) is not jit.load(ADD.format(4), passes=())
    assert call(jit.load(ADD.format(4), passes=("sroa", "simplify_cfg")), "add", 1, 1) == 6


def test_global_variables_and_constants():
    code = jit.load("""
@table = constant [2 x i64] [i64 5, i64 7]
@counter = global i64 0
@hidden = internal global i64 0
define i64 @count() {
  %old = atomicrmw add ptr @counter, i64 1 monotonic
  ret i64 %old
}
""")
    assert [call(code, "count") for _ in range(3)] == [0, 1, 2]
    assert ctypes.c_int64.from_address(code.address("counter")).value == 3
    assert ctypes.c_int64.from_address(code.address("table") + 8).value == 7
    with pytest.raises(KeyError, match="count, counter, table, not 'hidden'"):
        code.address("hidden")


def test_names_of_the_process_are_found():
    code = jit.load("""
declare double @cos(double)
declare i64 @PyLong_AsLongLong(ptr)
define double @f(double %x) {
  %y = call double @cos(double %x)
  ret double %y
}
define i64 @g(ptr %x) {
  %y = call i64 @PyLong_AsLongLong(ptr %x)
  ret i64 %y
}
""")
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("f"))(0.0) == 1.0
    function = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.py_object)(code.address("g"))
    assert function(12345) == 12345


OTHER = """
declare i64 @other(i64, i64)
@place = external global i64
define i64 @twice(i64 %a, i64 %b) {
  %once = call i64 @other(i64 %a, i64 %b)
  %held = load i64, ptr @place
  %result = add i64 %once, %held
  ret i64 %result
}
"""


def test_symbols_link_code_to_addresses():
    cells = [ctypes.c_int64(10), ctypes.c_int64(20)]
    codes = []
    for i, cell in enumerate(cells):
        other = jit.load(ADD.format(100 * i)).address("add")
        codes.append(jit.load(OTHER, {"other": other, "place": ctypes.addressof(cell)}))
    assert [call(code, "twice", 1, 2) for code in codes] == [13, 123]
    assert call(codes[0], "twice", 1, 2) == 13


def test_a_missing_name_is_an_error_and_harmless():
    text = OTHER.replace("@other", "@iskra_there_is_no_such_thing")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="needs .*iskra_there_is_no_such_thing"):
            jit.load(text)
    cell = ctypes.c_int64(0)
    add = jit.load(ADD.format(0)).address("add")
    symbols = {"iskra_there_is_no_such_thing": add, "place": ctypes.addressof(cell)}
    assert call(jit.load(text, symbols), "twice", 1, 2) == 3


def test_symbols_of_one_module_are_not_seen_by_another():
    cell = ctypes.c_int64(0)
    symbols = {"other": jit.load(ADD.format(0)).address("add"), "place": ctypes.addressof(cell)}
    jit.load(OTHER, symbols)
    with pytest.raises(RuntimeError, match="needs .*other.* which"):
        jit.load(OTHER + "\n")
    with pytest.raises(RuntimeError, match="needs place, which"):
        jit.load(OTHER, {"other": symbols["other"]})


def test_a_missing_library_function_is_noticed():
    # The text names no function: LLVM's code generator calls some of a library by itself.
    text = """
define fp128 @f(fp128 %x, fp128 %y) {
  %z = frem fp128 %x, %y
  %w = call fp128 @llvm.exp10.f128(fp128 %z)
  ret fp128 %w
}
declare fp128 @llvm.exp10.f128(fp128)
"""
    image, _ = jit._host().compile(text, (), "")
    assert jit._undefined(image)


@pytest.mark.parametrize("text", [
    "define i64 @f() { ret i32 0 }",
    "not LLVM",
    "define void @f() {\n  br label %x\nx:\n  %v = phi i64 [ 0, %y ]\n  br label %y\ny:\n"
    "  ret void\n}",
])
def test_wrong_ir_is_refused(text):
    for function in (jit.load, jit.optimized, jit.assembly):
        with pytest.raises(RuntimeError):
            function(text)


def test_objects_come_from_the_disk(store, monkeypatch):
    compiled = counted(monkeypatch)
    text = ADD.format(77)
    assert call(jit.load(text), "add", 0, 0) == 77
    assert len(compiled) == 1
    assert len(list(store.folder.iterdir())) == 1
    monkeypatch.setattr(jit, "_loaded", {})
    assert call(jit.load(text), "add", 0, 1) == 78
    assert len(compiled) == 1
    jit.load(text, passes=())
    assert len(compiled) == 2


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:20], lambda data: data[:-1], lambda data: data + b"x",
    lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], lambda data: b"x" + data,
])
def test_damaged_files_are_compiled_again(store, monkeypatch, damage):
    compiled = counted(monkeypatch)
    text = ADD.format(78)
    jit.load(text)
    (file,) = store.folder.iterdir()
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    monkeypatch.setattr(jit, "_loaded", {})
    assert call(jit.load(text), "add", 0, 1) == 79
    assert len(compiled) == 2
    assert file.read_bytes() == sound


def test_load_from_many_threads():
    texts = [ADD.format(200 + i) for i in range(8)]
    codes, barrier = {}, threading.Barrier(8)

    def work(number):
        barrier.wait()
        for i in range(8):
            text = texts[(number + i) % 8]
            codes[number, text] = jit.load(text)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, text in enumerate(texts):
        assert len({id(codes[number, text]) for number in range(8)}) == 1
        assert call(codes[0, text], "add", 0, 0) == 200 + i


def test_load_in_the_child_of_a_fork():
    jit.load(ADD.format(0))
    stop = threading.Event()

    def compile_on():
        number = 0
        while not stop.is_set():
            number += 1
            jit.optimized(ADD.format(number))

    thread = threading.Thread(target=compile_on)
    thread.start()
    try:
        for i in range(5):
            child = os.fork()
            if not child:
                os._exit(call(jit.load(ADD.format(i)), "add", 2, 3))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5 + i
    finally:
        stop.set()
        thread.join()


VECTOR = """
define void @double(ptr %x) {
  %cell = alloca <16 x float>
  %v = load <16 x float>, ptr %x, align 4
  store <16 x float> %v, ptr %cell
  %w = load <16 x float>, ptr %cell
  %sum = fadd <16 x float> %w, %w
  store <16 x float> %sum, ptr %x, align 4
  ret void
}
"""


def test_optimized_has_no_variables_in_memory():
    assert "alloca" in VECTOR
    assert "alloca" not in jit.optimized(VECTOR)
    assert "alloca" in jit.optimized(VECTOR, passes=())


@pytest.mark.parametrize(("target", "register"), [
    ({"triple": "aarch64-linux-gnu"}, "v0.4s"),
    ({"triple": "x86_64-linux-gnu"}, "xmm0"),
    ({"triple": "x86_64-linux-gnu", "cpu": "x86-64-v3"}, "ymm0"),
    ({"triple": "x86_64-linux-gnu", "cpu": "x86-64-v4", "features": "-prefer-256-bit"}, "zmm0"),
    ({"triple": "arm64-apple-macosx", "cpu": "apple-m1"}, "fadd.4s"),
])
def test_assembly_for_other_machines(target, register):
    text = jit.assembly(VECTOR, **target)
    assert register in text
    assert "double" in text


def test_assembly_for_this_machine():
    assert "double" in jit.assembly(VECTOR)
    assert "double" in jit.assembly(VECTOR, cpu="")
    assert "double" in jit.assembly(VECTOR, features=jit._host().features.split(",")[0])


def test_an_unknown_machine_is_refused():
    with pytest.raises(RuntimeError, match="nonsense"):
        jit.assembly(VECTOR, triple="nonsense-unknown")


def test_importing_the_room_does_not_load_llvm():
    program = ("import sys; from iskra.runtime import cache, jit, native, threads;"
               "threads.set_num_threads(3); print('llvmlite' in sys.modules)")
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (result.stdout, result.stderr) == ("False\n", "")
