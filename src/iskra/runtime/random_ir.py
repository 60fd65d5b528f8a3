"""The machine code of random streams, as LLVM IR: MT19937 by vectors, and what its bits become.

Every kernel is ``void kernel(ptr slots, i64 task)``, as `iskra.runtime.native` calls it, with one
task: a stream is made in order. Its first slot is the generator's state, NumPy's: 624 words of 32
bits and, as the 625th, the place of the next word to be given out; 624 means that the words are
spent. Kernels fill a buffer on the stack, which stays in the fastest cache, and convert it.

The twister's words depend on words 227 or more places away, so that 16 can be made at a time.

Source: Matsumoto and Nishimura 1998, "Mersenne Twister".
"""

import struct
from string import Template

WIDTH = 16     # words at a time
CHUNK = 2048   # words in the buffer


class Lines:
    """Instructions one after another, each with a name made up for its result."""

    def __init__(self, prefix="t"):
        self.text, self.prefix, self.count = [], prefix, 0

    def __call__(self, instruction):
        """Add an instruction that has a result; return the result's name."""
        self.count += 1
        name = f"%{self.prefix}{self.count}"
        self.text.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction):
        """Add an instruction that has none."""
        self.text.append(f"  {instruction}")

    def __str__(self):
        return "\n".join(self.text)


def splat(kind, value, width=WIDTH):
    """A constant vector of `width` equal elements."""
    return "<" + ", ".join([f"{kind} {value}"] * width) + ">"


def _lanes(kind="i64"):
    return "<" + ", ".join(f"{kind} {lane}" for lane in range(WIDTH)) + ">"


_V = f"<{WIDTH} x i32>"
_MASK = f"<{WIDTH} x i1>"


class _Words:
    """Access to 16 words at once, or under a mask to fewer."""

    def __init__(self, lines, mask=None):
        self.lines, self.mask = lines, mask

    def load(self, place):
        if self.mask is None:
            return self.lines(f"load {_V}, ptr {place}, align 4")
        return self.lines(
            f"call {_V} @llvm.masked.load.v16i32.p0(ptr {place}, i32 4, {_MASK} {self.mask}, "
            f"{_V} zeroinitializer)"
        )

    def store(self, value, place):
        if self.mask is None:
            self.lines.do(f"store {_V} {value}, ptr {place}, align 4")
        else:
            self.lines.do(
                f"call void @llvm.masked.store.v16i32.p0({_V} {value}, ptr {place}, i32 4, "
                f"{_MASK} {self.mask})"
            )


def _tempered(lines, word):
    """The twister's output for words of its state."""
    for shift, amount, mask in (
        ("lshr", 11, None), ("shl", 7, 0x9D2C5680), ("shl", 15, 0xEFC60000), ("lshr", 18, None),
    ):
        moved = lines(f"{shift} {_V} {word}, {splat('i32', amount)}")
        if mask is not None:
            moved = lines(f"and {_V} {moved}, {splat('i32', mask)}")
        word = lines(f"xor {_V} {word}, {moved}")
    return word


def _twist(lines, words):
    """New words at %place from these, the next ones and those %offset words on."""
    old = words.load("%place")
    after = lines("getelementptr i32, ptr %place, i64 1")
    following = words.load(after)
    other = words.load(lines("getelementptr i32, ptr %place, i64 %offset"))
    upper = lines(f"and {_V} {old}, {splat('i32', 0x80000000)}")
    lower = lines(f"and {_V} {following}, {splat('i32', 0x7FFFFFFF)}")
    mixed = lines(f"or {_V} {upper}, {lower}")
    half = lines(f"lshr {_V} {mixed}, {splat('i32', 1)}")
    last = lines(f"and {_V} {following}, {splat('i32', 1)}")
    full = lines(f"sub {_V} zeroinitializer, {last}")
    matrix = lines(f"and {_V} {full}, {splat('i32', 0x9908B0DF)}")
    new = lines(f"xor {_V} {lines(f'xor {_V} {other}, {half}')}, {matrix}")
    words.store(new, "%place")


def _temper(lines, words):
    word = words.load("%place")
    words.store(_tempered(lines, word), lines("getelementptr i32, ptr %out, i64 %index"))


def _by_vectors(name, parameters, body):
    """A function that runs `body` on 16 words at a time from `%from` on, then on the last few.

    parameters: more of them, each after a comma; IR writes them in a call as in the definition.
    """
    whole, rest = Lines("w"), Lines("r")
    body(whole, _Words(whole))
    body(rest, _Words(rest, "%mask"))
    return f"""
define internal void @{name}(ptr %from, i64 %count{parameters}) {{
entry:
  %whole = and i64 %count, -{WIDTH}
  %has_whole = icmp ne i64 %whole, 0
  br i1 %has_whole, label %vectors, label %last
vectors:
  %index = phi i64 [0, %entry], [%next, %vectors]
  %place = getelementptr i32, ptr %from, i64 %index
{whole}
  %next = add i64 %index, {WIDTH}
  %more = icmp ult i64 %next, %whole
  br i1 %more, label %vectors, label %last
last:
  %left = sub i64 %count, %whole
  %has_rest = icmp ne i64 %left, 0
  br i1 %has_rest, label %few, label %done
few:
  call void @{name}_few(ptr %from, i64 %whole, i64 %left{parameters})
  br label %done
done:
  ret void
}}

define internal void @{name}_few(ptr %from, i64 %index, i64 %left{parameters}) {{
  %place = getelementptr i32, ptr %from, i64 %index
  %limit = insertelement <{WIDTH} x i64> undef, i64 %left, i32 0
  %limits = shufflevector <{WIDTH} x i64> %limit, <{WIDTH} x i64> undef,
                          <{WIDTH} x i32> zeroinitializer
  %mask = icmp ult <{WIDTH} x i64> {_lanes()}, %limits
{rest}
  ret void
}}
"""


_DRAW = f"""
declare {_V} @llvm.masked.load.v16i32.p0(ptr, i32, {_MASK}, {_V})
declare void @llvm.masked.store.v16i32.p0({_V}, ptr, i32, {_MASK})
declare i64 @llvm.umin.i64(i64, i64)

; Make the next 624 words in place.
define internal void @renew(ptr %state) {{
  call void @twist(ptr %state, i64 227, i64 397)
  %later = getelementptr i32, ptr %state, i64 227
  call void @twist(ptr %later, i64 396, i64 -227)
  ; The last word follows upon the first, which is new.
  %last_place = getelementptr i32, ptr %state, i64 623
  %last = load i32, ptr %last_place
  %first = load i32, ptr %state
  %upper = and i32 %last, -2147483648
  %lower = and i32 %first, 2147483647
  %mixed = or i32 %upper, %lower
  %half = lshr i32 %mixed, 1
  %bit = and i32 %first, 1
  %full = sub i32 0, %bit
  %matrix = and i32 %full, {0x9908B0DF}
  %other_place = getelementptr i32, ptr %state, i64 396
  %other = load i32, ptr %other_place
  %turned = xor i32 %other, %half
  %new = xor i32 %turned, %matrix
  store i32 %new, ptr %last_place
  ret void
}}

; Write the next `count` words of the stream.
define internal void @draw(ptr %state, ptr %out, i64 %count) {{
entry:
  %position_place = getelementptr i32, ptr %state, i64 624
  br label %look
look:
  %start = phi i64 [0, %entry], [%reached, %give]
  %left = sub i64 %count, %start
  %none = icmp eq i64 %left, 0
  br i1 %none, label %done, label %some
some:
  %position = load i32, ptr %position_place
  %spent = icmp uge i32 %position, 624
  br i1 %spent, label %make, label %give
make:
  call void @renew(ptr %state)
  br label %give
give:
  %at = phi i32 [%position, %some], [0, %make]
  %from = zext i32 %at to i64
  %there = sub i64 624, %from
  %size = call i64 @llvm.umin.i64(i64 %there, i64 %left)
  %words = getelementptr i32, ptr %state, i64 %from
  %target = getelementptr i32, ptr %out, i64 %start
  call void @temper(ptr %words, i64 %size, ptr %target)
  %end = add i64 %from, %size
  %end_word = trunc i64 %end to i32
  store i32 %end_word, ptr %position_place
  %reached = add i64 %start, %size
  br label %look
done:
  ret void
}}
"""

TWISTER = (
    _by_vectors("twist", ", i64 %offset", _twist) + _by_vectors("temper", ", ptr %out", _temper)
    + _DRAW
)

# A kernel that fills the buffer with words, again and again, and turns $step times $words of them
# into as many elements of %out. What goes over the end is written beside it first.
_KERNEL = Template("""
define void @$name(ptr %slots, i64 %task) {
entry:
  %buffer = alloca [$room x i32], align 64
  %beside = alloca <$step x $kind>, align 64
  %state = load ptr, ptr %slots
  %out_slot = getelementptr i64, ptr %slots, i64 1
  %out = load ptr, ptr %out_slot
  %count_slot = getelementptr i64, ptr %slots, i64 2
  %count = load i64, ptr %count_slot
$head
  br label %chunk
chunk:
  %start = phi i64 [0, %entry], [%end, %filled]
  %left = sub i64 %count, %start
  %none = icmp eq i64 %left, 0
  br i1 %none, label %done, label %fill
fill:
  %size = call i64 @llvm.umin.i64(i64 %left, i64 $per_chunk)
  %word_count = mul i64 %size, $words
  call void @draw(ptr %state, ptr %buffer, i64 %word_count)
  br label %each
each:
  %index = phi i64 [0, %fill], [%next, %stored]
  %word_index = mul i64 %index, $words
  %word_place = getelementptr i32, ptr %buffer, i64 %word_index
  %drawn = load <$drawn x i32>, ptr %word_place, align 64
$body
  %out_index = add i64 %start, %index
  %place = getelementptr $kind, ptr %out, i64 %out_index
  %next = add i64 %index, $step
  %whole = icmp ule i64 %next, %size
  br i1 %whole, label %store, label %store_part
store:
  store <$step x $kind> $value, ptr %place, align $align
  br label %stored
store_part:
  store <$step x $kind> $value, ptr %beside, align 64
  %rest = sub i64 %size, %index
  %bytes = mul i64 %rest, $align
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %beside, i64 %bytes, i1 false)
  br label %stored
stored:
  %more = icmp ult i64 %next, %size
  br i1 %more, label %each, label %filled
filled:
  %end = add i64 %start, %size
  br label %chunk
done:
  ret void
}
""")

BYTES = {"i8": 1, "i32": 4, "i64": 8, "float": 4, "double": 8}


class Kernel:
    """A kernel under construction: parameters go into `head`, the conversion into `body`.

    kind: the type of its elements; words: how many of the stream's each takes; step: how many
    elements are made at a time. The words in hand are `%drawn`, a vector.
    """

    def __init__(self, name, kind, words=1, step=WIDTH):
        self.name, self.kind, self.words, self.step = name, kind, words, step
        self.head, self.body = Lines("h"), Lines("b")

    def parameter(self, index, kind):
        """Slot `3 + index` in all elements of a vector; `kind` float is read from a double."""
        head = self.head
        place = head(f"getelementptr i64, ptr %slots, i64 {3 + index}")
        value = head(f"load {'double' if kind == 'float' else kind}, ptr {place}")
        if kind == "float":
            value = head(f"fptrunc double {value} to float")
        vector = f"<{WIDTH} x {kind}>"
        one = head(f"insertelement {vector} undef, {kind} {value}, i32 0")
        return head(f"shufflevector {vector} {one}, {vector} undef, {_V} zeroinitializer")

    def wide(self):
        """64-bit draws from the 32 words in hand: the first of two is the upper half."""
        halves = []
        for first in (0, 1):
            places = ", ".join(f"i32 {2 * lane + first}" for lane in range(WIDTH))
            half = self.body(
                f"shufflevector <32 x i32> %drawn, <32 x i32> undef, {_V} <{places}>"
            )
            halves.append(self.body(f"zext {_V} {half} to <{WIDTH} x i64>"))
        upper = self.body(f"shl <{WIDTH} x i64> {halves[0]}, {splat('i64', 32)}")
        return self.body(f"or <{WIDTH} x i64> {upper}, {halves[1]}")

    def text(self, value):
        """The IR of the kernel that stores `value`, a vector of `step` elements."""
        return _KERNEL.substitute(
            name=self.name, kind=self.kind, words=self.words, step=self.step, value=value,
            head=self.head, body=self.body, drawn=self.step * self.words,
            per_chunk=CHUNK // self.words, room=CHUNK + 2 * WIDTH, align=BYTES[self.kind],
        )


_F4, _F8, _I8 = f"<{WIDTH} x float>", f"<{WIDTH} x double>", f"<{WIDTH} x i64>"


def _uniform(name, kind, vector, units):
    """``low + u * (high - low)``, rounded once; what is rounded up to `high` becomes `low`."""
    kernel = Kernel(name, kind, words=1 if kind == "float" else 2)
    body = kernel.body
    low, span, high = (kernel.parameter(i, kind) for i in range(3))
    moved = body(
        f"call {vector} @llvm.fma.v16f{8 * BYTES[kind]}({vector} {units(kernel)}, {vector} {span}, "
        f"{vector} {low})"
    )
    at_end = body(f"fcmp oeq {vector} {moved}, {high}")
    return kernel.text(body(f"select {_MASK} {at_end}, {vector} {low}, {vector} {moved}"))


def _units24(kernel):
    low = kernel.body(f"and {_V} %drawn, {splat('i32', (1 << 24) - 1)}")
    whole = kernel.body(f"sitofp {_V} {low} to {_F4}")
    return kernel.body(f"fmul {_F4} {whole}, {splat('float', hexadecimal(2.0 ** -24))}")


def _units53(kernel):
    low = kernel.body(f"and {_I8} {kernel.wide()}, {splat('i64', (1 << 53) - 1)}")
    whole = kernel.body(f"sitofp {_I8} {low} to {_F8}")
    return kernel.body(f"fmul {_F8} {whole}, {splat('double', hexadecimal(2.0 ** -53))}")


def hexadecimal(value):
    """A floating-point constant as IR writes it exactly; one of float must be exact in float."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _bernoulli(name, kind):
    """Whether a draw of 53 bits is below the first parameter; `value` or 0 if of floats."""
    kernel = Kernel(name, kind, words=2)
    body = kernel.body
    threshold = kernel.parameter(0, "i64")
    low = body(f"and {_I8} {kernel.wide()}, {splat('i64', (1 << 53) - 1)}")
    is_success = body(f"icmp ult {_I8} {low}, {threshold}")
    if kind == "i8":
        return kernel.text(body(f"zext {_MASK} {is_success} to <{WIDTH} x i8>"))
    value = kernel.parameter(1, kind)
    return kernel.text(
        body(f"select {_MASK} {is_success}, {_F4} {value}, {_F4} zeroinitializer")
    )


def _remainder():
    """``word % divisor + low``: the quotient in float64 is right or off by one."""
    kernel = Kernel("remainder", "i64")
    body = kernel.body
    divisor, inverse = kernel.parameter(0, "double"), kernel.parameter(1, "double")
    low = kernel.parameter(2, "i64")
    word = body(f"uitofp {_V} %drawn to {_F8}")
    ratio = body(f"fmul {_F8} {word}, {inverse}")
    quotient = body(f"call {_F8} @llvm.floor.v16f64({_F8} {ratio})")
    less = body(f"fneg {_F8} {quotient}")
    rest = body(f"call {_F8} @llvm.fma.v16f64({_F8} {less}, {_F8} {divisor}, {_F8} {word})")
    more = body(f"fadd {_F8} {rest}, {divisor}")
    is_low = body(f"fcmp olt {_F8} {rest}, zeroinitializer")
    rest = body(f"select {_MASK} {is_low}, {_F8} {more}, {_F8} {rest}")
    less = body(f"fsub {_F8} {rest}, {divisor}")
    is_high = body(f"fcmp oge {_F8} {rest}, {divisor}")
    rest = body(f"select {_MASK} {is_high}, {_F8} {less}, {_F8} {rest}")
    # Up to 2**31 - 1: so it fits 32 bits, to which all processors convert.
    small = body(f"fptosi {_F8} {rest} to {_V}")
    wide = body(f"zext {_V} {small} to {_I8}")
    return kernel.text(body(f"add {_I8} {wide}, {low}"))


def _wide_words():
    kernel = Kernel("wide_words", "i64", words=2)
    return kernel.text(kernel.wide())


_WORDS = """
define void @words(ptr %slots, i64 %task) {
  %state = load ptr, ptr %slots
  %out_slot = getelementptr i64, ptr %slots, i64 1
  %out = load ptr, ptr %out_slot
  %count_slot = getelementptr i64, ptr %slots, i64 2
  %count = load i64, ptr %count_slot
  call void @draw(ptr %state, ptr %out, i64 %count)
  ret void
}
"""

# Exchange every one of 0 ... size - 1 with itself or a later one; the words say how much later.
_SHUFFLE = f"""
define void @shuffle(ptr %slots, i64 %task) {{
entry:
  %buffer = alloca [{CHUNK} x i32], align 64
  %state = load ptr, ptr %slots
  %order_slot = getelementptr i64, ptr %slots, i64 1
  %order = load ptr, ptr %order_slot
  %size_slot = getelementptr i64, ptr %slots, i64 2
  %size = load i64, ptr %size_slot
  %count = sub i64 %size, 1
  br label %chunk
chunk:
  %start = phi i64 [0, %entry], [%end, %each]
  %left = sub i64 %count, %start
  %none = icmp eq i64 %left, 0
  br i1 %none, label %done, label %fill
fill:
  %words = call i64 @llvm.umin.i64(i64 %left, i64 {CHUNK})
  call void @draw(ptr %state, ptr %buffer, i64 %words)
  %end = add i64 %start, %words
  br label %each
each:
  %place = phi i64 [%start, %fill], [%next, %each]
  %index = sub i64 %place, %start
  %word_place = getelementptr i32, ptr %buffer, i64 %index
  %word = load i32, ptr %word_place
  %choices = sub i64 %size, %place
  %divisor = trunc i64 %choices to i32
  %step = urem i32 %word, %divisor
  %ahead = zext i32 %step to i64
  %other = add i64 %place, %ahead
  %here = getelementptr i32, ptr %order, i64 %place
  %there = getelementptr i32, ptr %order, i64 %other
  %mine = load i32, ptr %here
  %its = load i32, ptr %there
  store i32 %its, ptr %here
  store i32 %mine, ptr %there
  %next = add i64 %place, 1
  %more = icmp ult i64 %next, %end
  br i1 %more, label %each, label %chunk
done:
  ret void
}}
"""

_DECLARATIONS = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare {_F4} @llvm.fma.v16f32({_F4}, {_F4}, {_F4})
declare {_F8} @llvm.fma.v16f64({_F8}, {_F8}, {_F8})
declare {_F8} @llvm.floor.v16f64({_F8})
"""


def text():
    """The IR of the twister and of the kernels whose bits become numbers in a step or two."""
    return "".join((
        TWISTER, _DECLARATIONS, _WORDS, _wide_words(), _SHUFFLE, _remainder(),
        _uniform("uniform32", "float", _F4, _units24),
        _uniform("uniform64", "double", _F8, _units53),
        _bernoulli("bernoulli8", "i8"), _bernoulli("bernoulli32", "float"),
    ))
