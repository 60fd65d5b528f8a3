"""LLVM IR in, machine code for this process out; with a cache on disk in between.

    code = jit.load("define void @kernel(ptr %slots, i64 %task) { ... }")
    address = code.address("kernel")

All code lives as long as the process. Loading a cached object costs some 0.1 ms; compiling one
some milliseconds, nearly all of it in LLVM's code generation. Kernels arrive as explicit vector
code, so that of LLVM's passes only SROA (allocas into registers) is run.
"""

import functools
import json
import os
import struct
import threading

from iskra.runtime import cache

PASSES = ("sroa",)
_DOTS = "llvm.x86.avx512bf16."  # intrinsics that few targets have

# Around everything that touches LLVM: its global context belongs to one thread at a time. Held
# over a fork as well, so that the child does not inherit LLVM in the middle of something.
lock = threading.RLock()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release,
                    after_in_child=lock.release)

_loaded = {}        # by key and symbols
_linked = set()     # the keys whose names the shared engine knows


class Code:
    """Loaded machine code: the addresses of its functions and global variables."""

    def __init__(self, addresses):
        self._addresses = addresses

    def address(self, name):
        """Return the address of `name` as an int; raises KeyError where the IR defines no such."""
        try:
            return self._addresses[name]
        except KeyError:
            known = ", ".join(sorted(self._addresses)) or "nothing"
            raise KeyError(f"the code defines {known}, not {name!r}") from None


def load(text, symbols=None, passes=PASSES):
    """Compile LLVM IR for this machine, or take it from the cache, and return it as `Code`.

    text: the module. Names need not be unique: each module is a world of its own.
    symbols: addresses (ints) of what the module declares and does not define; names that are not
        here are looked for in the process (libc, libm, Python).
    passes: names of LLVM's passes as llvmlite knows them (``add_<name>_pass``).

    Raises RuntimeError for IR that does not parse or verify, and where a name is missing.
    Thread-safe. The same text with the same symbols is loaded once; asking again still costs a
    hash of the text, so keep what is returned.
    """
    symbols = dict(symbols or {})
    with lock:
        key = _key(text, passes, symbols)
        identity = key, tuple(sorted(symbols.items()))
        code = _loaded.get(identity)
        if code is None:
            code = _loaded[identity] = _load(key, text, symbols, passes)
    return code


def optimized(text, passes=PASSES):
    """Return the module's IR after the passes, as text."""
    with lock:
        return str(_host().optimize(text, passes))


def assembly(text, triple=None, cpu=None, features="", passes=PASSES):
    """Return the module's assembly, for this machine or for another one.

    triple: the target, such as "aarch64-linux-gnu"; None: this machine's.
    cpu: such as "x86-64-v3" or "neoverse-v1"; None: this machine's, or with a triple a plain one.
    features: more of LLVM's feature names, such as "+avx512f,-sse4a".

    Raises RuntimeError for IR that does not parse or verify and for an unknown triple.
    """
    with lock:
        host = _host()
        if triple is None and cpu is None:
            target = host
            if features:
                target = _cross(host.triple, host.cpu, f"{host.features},{features}")
        else:
            target = _cross(triple or host.triple, cpu or "", features)
        return target.machine.emit_assembly(target.optimize(text, passes))


class _Target:
    """A machine that LLVM makes code for."""

    def __init__(self, llvm, triple, cpu, features, jit=False):
        self.llvm, self.triple, self.cpu, self.features = llvm, triple, cpu, features
        self.jit = jit
        self.machine = self.new_machine()
        self.layout = str(self.machine.target_data)

    def new_machine(self):
        # For the process itself: code and data anywhere in its memory, and Python's far away.
        model = "jitdefault" if self.jit else "default"
        return self.llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=2, jit=self.jit, codemodel=model)

    def parse(self, text):
        if _DOTS in text and "+avx512bf16" not in self.features:
            # LLVM would end the process.
            raise RuntimeError("the code needs a target with the feature +avx512bf16")
        module = self.llvm.parse_assembly(text)
        module.triple, module.data_layout = self.triple, self.layout
        module.verify()
        return module

    def optimize(self, text, passes):
        llvm, module = self.llvm, self.parse(text)
        with llvm.create_pipeline_tuning_options() as tuning:
            with llvm.create_pass_builder(self.machine, tuning) as builder:
                with llvm.create_new_module_pass_manager() as manager:
                    for name in passes:
                        getattr(manager, f"add_{name}_pass")()
                    manager.run(module, builder)
        return module

    def compile(self, text, passes, suffix, symbols=()):
        """Return (object file, the names it defines).

        In it these names and those of `symbols` carry the suffix, to be the only ones in the
        process: LLVM's table of names is one for all code, and keeps what it is told.
        """
        module, names = self.optimize(text, passes), []
        for value in (*module.functions, *module.global_variables):
            if value.is_declaration:
                if value.name in symbols:
                    value.name += suffix
            elif value.linkage.name == "external":
                names.append(value.name)
                value.name += suffix
        return self.machine.emit_object(module), names


@functools.cache
def _llvm():
    """llvmlite's binding, ready for this machine; imported at the first kernel."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@functools.cache
def _host():
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    flags = features.flatten()
    if features.get("avx512f"):
        flags += ",-prefer-256-bit"         # the 512-bit registers are what the kernels are for
    return _Target(llvm, llvm.get_process_triple(), llvm.get_host_cpu_name(), flags, jit=True)


@functools.cache
def _cross(triple, cpu, features):
    llvm = _llvm()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return _Target(llvm, triple, cpu, features)


def _new_engine():
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _host().new_machine())
    # Never disposed of: worker threads wait inside its code until the process is gone.
    engine._owned = True
    return engine


@functools.cache
def _shared_engine():
    """The linker of nearly all objects: an engine for each would cost ten times as much."""
    return _new_engine()


def _key(text, passes, symbols):
    host, version = _host(), ".".join(map(str, _llvm().llvm_version_info))
    return cache.key_of(text, " ".join(passes), " ".join(sorted(symbols)), version,
                        host.triple, host.cpu, host.features)


def _load(key, text, symbols, passes):
    llvm, suffix = _llvm(), "." + key[:32]
    entry = cache.default_cache().get(key)
    if entry is None:
        image, defines = _host().compile(text, passes, suffix, symbols)
        needs = _undefined(image)
        cache.default_cache().put(key, _pack(image, defines, needs))
    else:
        image, defines, needs = _unpack(entry)
    # A second copy, linked to other symbols, needs an engine where its names are not taken.
    engine = _new_engine() if key in _linked else _shared_engine()
    _provide(llvm, needs, {name + suffix: address for name, address in symbols.items()})
    _linked.add(key)
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(image))
    engine.finalize_object()
    return Code({name: engine.get_function_address(name + suffix) for name in defines})


def _provide(llvm, needs, symbols):
    """See that LLVM finds all that the code needs; it would end the process where it does not."""
    missing = []
    for name in needs:
        if name in symbols:
            llvm.add_symbol(name, symbols[name])
        elif not llvm.address_of_symbol(name):
            missing.append(name)
    if missing:
        raise RuntimeError(f"the code needs {', '.join(missing)}, which this process does not have")


def _pack(image, defines, needs):
    return json.dumps([defines, needs]).encode() + b"\n" + image


def _unpack(entry):
    names, _, image = entry.partition(b"\n")
    return (image, *json.loads(names))


def _undefined(image):
    """The names that a 64-bit little-endian ELF object expects of others; else nothing."""
    if image[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,) = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    # A section header: name, type, flags, address, offset, size, link, ...
    sections = [struct.unpack_from("<IIQQQQII", image, offset + i * size) for i in range(count)]
    names = []
    for section in sections:
        if section[1] != 2:                 # SHT_SYMTAB
            continue
        strings = sections[section[6]][4]
        symbols = image[section[4]:section[4] + section[5]]
        # A symbol: name, info, other, section (0: undefined), value, size.
        for name, _, _, where, _, _ in struct.iter_unpack("<IBBHQQ", symbols):
            if name and not where:
                start = strings + name
                names.append(image[start:image.index(b"\0", start)].decode())
    return names
