"""The machine code behind `iskra.runtime.quick`, as LLVM IR: a call of an operator from the
tensors that Python passes to the tensor that it gets back.

    ptr quick(ptr self, ptr args, i64 count, ptr names)

is a function of Python's C interface (METH_FASTCALL | METH_KEYWORDS). `self` is a bytes object: the
address of the operator's table (256 addresses of entries, or 0), and two words with a bit for each
position, one of arguments for which a number may stand as an operand, one of those whose gradient
may be asked for. An entry is an array of 64-bit words, written by `quick.Table`:

    hash, length of the key, results, steps, returned, the first recording or 0, doubts, the class
    of the tuple that is returned or 0, and whether the result may be written over an argument
    the key
    for each result        its shape (a tuple), its NumPy dtype, its dtype
    for each returned      the number of the result, or -1 for None; none at all: the first result
    for each doubt         the number of the result, and its bytes
    for each step          the kernel, its tasks, the number of its slots
                           for each slot its kind (`SLOT_KINDS`) and a value; that of an operand
                           or result is its number plus 256 times an offset in bytes

Doubts are results which, if any byte of theirs is not 0, say that the call has to raise: it is left
to Python then. Recordings: see `quick_tape_ir`.

The key describes the arguments: for a tensor its NumPy dtype, rank, sizes and strides; for a number
that is an operand `FLOAT` or `INT`; for a setting its kind, and its value or the object's address;
for a tuple of those its length and them, as for a list of tensors (which count as so many
operands). Last come the addresses of the keywords, whose arguments
follow the others.

The answer is a tensor or a tuple, None where nothing was done, or a list with the result of a call
that has yet to be recorded.
"""

from iskra.runtime.pool_ir import FORKED
from iskra.runtime.quick_apply_ir import APPLYING
from iskra.runtime.quick_history_ir import HISTORY
from iskra.runtime.quick_key_ir import READING
from iskra.runtime.quick_lists_ir import LISTING
from iskra.runtime.quick_moves_ir import MOVING
from iskra.runtime.quick_tape_ir import MOST_RECORDED, RECORDING, WRITTEN
from iskra.runtime.quick_views_ir import VIEWING
from iskra.runtime.quick_write_ir import MOST_COPIED, MOST_KEPT, WRITING

HEADER = 9              # words of an entry before the key
TABLE_SIZE = 256
PROBES = 4              # how many places after the first an entry may stand
MOST_ARGUMENTS, MOST_RANK, MOST_RESULTS = 12, 6, 16
FLOAT, INT = 1, 2       # numbers that are operands
INT_SETTING, FLOAT_SETTING, OBJECT_SETTING, TUPLE_SETTING, LIST, SLICE = 3, 4, 5, 6, 7, 8
MOST_ITEMS = 16         # of a tuple
MULTIPLIER = 0x9E3779B97F4A7C15
SLOT_KINDS = {"constant": 0, "operand": 1, "result": 2, "double": 3, "integer": 4}
KEY = 256               # words
ROOM = KEY - 2 - 2 * MOST_ITEMS - MOST_ARGUMENTS    # before any argument


def hash_of(words):
    """The hash of a key, as the machine code computes it."""
    found = len(words)
    for word in words:
        found = (found ^ word) * MULTIPLIER % 2**64
    return found


def quick_ir(layout):
    """Return the IR. layout: offsets (bytes) of what it reads and writes in Python's objects."""
    values = {
        **layout, "FORKED": FORKED, "MOST_RECORDED": MOST_RECORDED, "KEY": KEY,
        "MOST_COPIED": MOST_COPIED, "MOST_KEPT": MOST_KEPT, "WRITTEN": WRITTEN,
        "MOST_ARGUMENTS": MOST_ARGUMENTS, "MOST_RANK": MOST_RANK, "MOST_RESULTS": MOST_RESULTS,
        "FLOAT": FLOAT, "INT": INT, "INT_SETTING": INT_SETTING, "FLOAT_SETTING": FLOAT_SETTING,
        "OBJECT_SETTING": OBJECT_SETTING, "TUPLE_SETTING": TUPLE_SETTING,
        "LIST": LIST, "SLICE": SLICE, "HEADER": HEADER, "MOST_ITEMS": MOST_ITEMS, "ROOM": ROOM,
        "MULTIPLIER": MULTIPLIER - 2**64, "PROBES": PROBES, "LAST": TABLE_SIZE - 1,
        "SHIFT": 64 - (TABLE_SIZE.bit_length() - 1),
    }
    text = "".join((_HEAD, READING, LISTING, RECORDING, _CARRYING_OUT, APPLYING, WRITING, HISTORY,
                    MOVING, VIEWING))
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


_HEAD = """
@iskra_none = external global i8
@iskra_zero = external global i8
@iskra_ndarray = external global i8
@iskra_tensor = external global i8
@iskra_parameter = external global i8
@iskra_saved = external global i8
@iskra_float = external global i8
@iskra_int = external global i8
@iskra_tuple = external global i8
@iskra_size = external global i8
@iskra_slice = external global i8
@iskra_observers = external global i8
@iskra_active = external global i8
@iskra_watcher = external global ptr
@iskra_spoiling = external global i64
@iskra_name = private constant [6 x i8] c"quick\\00"

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyErr_Occurred()
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @PyErr_Clear()
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @iskra_empty(ptr, ptr, i64)
declare i32 @iskra_run_many(ptr, ptr, ptr, i64)

; A key under construction, what it came from, its length, and whether there are lists of tensors.
%call = type { [{KEY} x i64], [{MOST_ARGUMENTS} x ptr], [{MOST_ARGUMENTS} x i64],
               [{MOST_ARGUMENTS} x i64], i64, i64 }

"""

_CARRYING_OUT = """
define internal void @drop(ptr %objects, i64 %count) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %at = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}

; Fill an array with what is NaN as a float, and far out of range as a place.
define internal void @spoil(ptr %array) {
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %data.at
  %bytes = call i64 @bytes_of(ptr %array)
  call void @llvm.memset.p0.i64(ptr %data, i8 -1, i64 %bytes, i1 false)
  ret void
}

; Fresh arrays for the results; how many could be made. If %given is not null it is the first.
define internal i64 @make(ptr %results, i64 %count, ptr %arrays, ptr %given) {
  %nothing = icmp eq ptr %given, null
  br i1 %nothing, label %loop, label %take
take:
  call void @Py_IncRef(ptr %given)
  store ptr %given, ptr %arrays
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ 1, %take ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %offset = mul i64 %i, 3
  %shape.at = getelementptr ptr, ptr %results, i64 %offset
  %array = call ptr @iskra_empty(ptr null, ptr %shape.at, i64 2)
  %missing = icmp eq ptr %array, null
  br i1 %missing, label %done, label %made
made:
  %at = getelementptr ptr, ptr %arrays, i64 %i
  store ptr %array, ptr %at
  %spoiling = load i64, ptr @iskra_spoiling
  %clean = icmp eq i64 %spoiling, 0
  br i1 %clean, label %next, label %dirty
dirty:
  call void @spoil(ptr %array)
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret i64 %i
}

; Run the steps; 0, or -1 with an exception.
define internal i32 @run(ptr %steps, i64 %count, ptr %call, ptr %arrays) {
  %slots = alloca [96 x i64], align 16
  %data = getelementptr %call, ptr %call, i64 0, i32 1
  %doubles = getelementptr %call, ptr %call, i64 0, i32 2
  %integers = getelementptr %call, ptr %call, i64 0, i32 3
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %ran ]
  %step = phi ptr [ %steps, %0 ], [ %step.next, %ran ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %kernel = load ptr, ptr %step
  %tasks.at = getelementptr i64, ptr %step, i64 1
  %tasks = load i64, ptr %tasks.at
  %many.at = getelementptr i64, ptr %step, i64 2
  %many = load i64, ptr %many.at
  %codes = getelementptr i64, ptr %step, i64 3
  br label %slot
slot:
  %s = phi i64 [ 0, %one ], [ %s.next, %filled ]
  %unfilled = icmp slt i64 %s, %many
  br i1 %unfilled, label %fill, label %launch
fill:
  %code.number = shl i64 %s, 1
  %kind.at = getelementptr i64, ptr %codes, i64 %code.number
  %kind = load i64, ptr %kind.at
  %given.at = getelementptr i64, ptr %kind.at, i64 1
  %given = load i64, ptr %given.at
  %offset = lshr i64 %given, 8
  switch i64 %kind, label %constant [
    i64 1, label %operand
    i64 2, label %result
    i64 3, label %double
    i64 4, label %integer
  ]
constant:
  br label %filled
operand:
  %operand.number = and i64 %given, 255
  %operand.at = getelementptr i64, ptr %data, i64 %operand.number
  %operand.start = load i64, ptr %operand.at
  %operand.value = add i64 %operand.start, %offset
  br label %filled
result:
  %result.number = and i64 %given, 255
  %result.at = getelementptr ptr, ptr %arrays, i64 %result.number
  %array = load ptr, ptr %result.at
  %result.data = getelementptr i8, ptr %array, i64 {DATA}
  %result.start = load i64, ptr %result.data
  %result.value = add i64 %result.start, %offset
  br label %filled
double:
  %double.at = getelementptr i64, ptr %doubles, i64 %given
  %double.value = load i64, ptr %double.at
  br label %filled
integer:
  %integer.at = getelementptr i64, ptr %integers, i64 %given
  %integer.value = load i64, ptr %integer.at
  br label %filled
filled:
  %value = phi i64 [ %given, %constant ], [ %operand.value, %operand ],
      [ %result.value, %result ], [ %double.value, %double ], [ %integer.value, %integer ]
  %slot.at = getelementptr i64, ptr %slots, i64 %s
  store i64 %value, ptr %slot.at
  %s.next = add i64 %s, 1
  br label %slot
launch:
  %alone = icmp eq i64 %tasks, 1
  br i1 %alone, label %here, label %spread
here:
  call void %kernel(ptr %slots, i64 0)
  br label %ran
spread:
  %outcome = call i32 @iskra_run_many(ptr @iskra_name, ptr %kernel, ptr %slots, i64 %tasks)
  %good = icmp eq i32 %outcome, 0
  br i1 %good, label %ran, label %failed
ran:
  %i.next = add i64 %i, 1
  %words = shl i64 %many, 1
  %step.next = getelementptr i64, ptr %codes, i64 %words
  br label %loop
failed:
  ret i32 -1
done:
  ret i32 0
}

; A tensor around the array of one result, whose reference it takes over; null where memory is out.
define internal ptr @wrap(ptr %array, ptr %dtype) {
  %tensor = call ptr @PyType_GenericAlloc(ptr @iskra_tensor, i64 0)
  %missing = icmp eq ptr %tensor, null
  br i1 %missing, label %lost, label %made
made:
  %array.at = getelementptr i8, ptr %tensor, i64 {ARRAY}
  store ptr %array, ptr %array.at
  call void @Py_IncRef(ptr %dtype)
  %dtype.at = getelementptr i8, ptr %tensor, i64 {DTYPE}
  store ptr %dtype, ptr %dtype.at
  ret ptr %tensor
lost:
  ret ptr null
}

define internal ptr @wrap_result(ptr %results, i64 %number, ptr %arrays) {
  %array.at = getelementptr ptr, ptr %arrays, i64 %number
  %array = load ptr, ptr %array.at
  call void @Py_IncRef(ptr %array)
  %offset = mul i64 %number, 3
  %dtype.number = add i64 %offset, 2
  %dtype.at = getelementptr ptr, ptr %results, i64 %dtype.number
  %dtype = load ptr, ptr %dtype.at
  %tensor = call ptr @wrap(ptr %array, ptr %dtype)
  %missing = icmp eq ptr %tensor, null
  br i1 %missing, label %lost, label %made
lost:
  call void @Py_DecRef(ptr %array)
  ret ptr null
made:
  ret ptr %tensor
}

; A tuple of tensors and Nones; if %class is not null it is of that subclass.
define internal ptr @wrap_all(ptr %results, ptr %numbers, i64 %count, ptr %arrays, ptr %class) {
  %nameless = icmp eq ptr %class, null
  br i1 %nameless, label %plain, label %named
plain:
  %tuple.plain = call ptr @PyTuple_New(i64 %count)
  br label %look
named:
  %tuple.named = call ptr @PyType_GenericAlloc(ptr %class, i64 %count)
  br label %look
look:
  %tuple = phi ptr [ %tuple.plain, %plain ], [ %tuple.named, %named ]
  %missing = icmp eq ptr %tuple, null
  br i1 %missing, label %lost, label %begin
begin:
  %items = getelementptr i8, ptr %tuple, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %number.at = getelementptr i64, ptr %numbers, i64 %i
  %number = load i64, ptr %number.at
  %is.none = icmp slt i64 %number, 0
  br i1 %is.none, label %none, label %some
none:
  call void @Py_IncRef(ptr @iskra_none)
  br label %put
some:
  %tensor = call ptr @wrap_result(ptr %results, i64 %number, ptr %arrays)
  %failed = icmp eq ptr %tensor, null
  br i1 %failed, label %undo, label %put
put:
  %item = phi ptr [ @iskra_none, %none ], [ %tensor, %some ]
  %item.at = getelementptr ptr, ptr %items, i64 %i
  store ptr %item, ptr %item.at
  %i.next = add i64 %i, 1
  br label %loop
undo:
  call void @Py_DecRef(ptr %tuple)
  ret ptr null
lost:
  ret ptr null
done:
  ret ptr %tuple
}

; Whether any byte of the results that are doubts is not 0.
define internal i1 @is_doubtful(ptr %doubts, i64 %count, ptr %arrays) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %no
one:
  %twice = shl i64 %i, 1
  %number.at = getelementptr i64, ptr %doubts, i64 %twice
  %number = load i64, ptr %number.at
  %bytes.at = getelementptr i64, ptr %number.at, i64 1
  %bytes = load i64, ptr %bytes.at
  %array.at = getelementptr ptr, ptr %arrays, i64 %number
  %array = load ptr, ptr %array.at
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %data.at
  br label %byte
byte:
  %b = phi i64 [ 0, %one ], [ %b.next, %byte.next ]
  %left = icmp slt i64 %b, %bytes
  br i1 %left, label %look, label %next
look:
  %byte.at = getelementptr i8, ptr %data, i64 %b
  %value = load i8, ptr %byte.at
  %clear = icmp eq i8 %value, 0
  br i1 %clear, label %byte.next, label %yes
byte.next:
  %b.next = add i64 %b, 1
  br label %byte
next:
  %i.next = add i64 %i, 1
  br label %loop
yes:
  ret i1 true
no:
  ret i1 false
}

; Do what an entry says; null with an exception, or without one where memory is out. %given: an
; array for the first result, or null.
define internal ptr @carry_out(ptr %entry, ptr %call, ptr %given) {
  %arrays = alloca [{MOST_RESULTS} x ptr], align 16
  %length.at = getelementptr i64, ptr %entry, i64 1
  %length = load i64, ptr %length.at
  %count.at = getelementptr i64, ptr %entry, i64 2
  %count = load i64, ptr %count.at
  %steps.count.at = getelementptr i64, ptr %entry, i64 3
  %steps.count = load i64, ptr %steps.count.at
  %returned.at = getelementptr i64, ptr %entry, i64 4
  %returned = load i64, ptr %returned.at
  %key = getelementptr i64, ptr %entry, i64 {HEADER}
  %results = getelementptr i64, ptr %key, i64 %length
  %results.words = mul i64 %count, 3
  %numbers = getelementptr i64, ptr %results, i64 %results.words
  %doubts = getelementptr i64, ptr %numbers, i64 %returned
  %doubt.count.at = getelementptr i64, ptr %entry, i64 6
  %doubt.count = load i64, ptr %doubt.count.at
  %doubt.words = shl i64 %doubt.count, 1
  %steps = getelementptr i64, ptr %doubts, i64 %doubt.words
  %made = call i64 @make(ptr %results, i64 %count, ptr %arrays, ptr %given)
  %all = icmp eq i64 %made, %count
  br i1 %all, label %compute, label %short
short:
  call void @PyErr_Clear()
  br label %end
compute:
  %outcome = call i32 @run(ptr %steps, i64 %steps.count, ptr %call, ptr %arrays)
  %good = icmp eq i32 %outcome, 0
  br i1 %good, label %settle, label %end
settle:
  %doubtful = call i1 @is_doubtful(ptr %doubts, i64 %doubt.count, ptr %arrays)
  br i1 %doubtful, label %end, label %deliver
deliver:
  %several = icmp sgt i64 %returned, 0
  br i1 %several, label %tuple, label %single
single:
  %tensor = call ptr @wrap_result(ptr %results, i64 0, ptr %arrays)
  br label %end
tuple:
  %class.at = getelementptr ptr, ptr %entry, i64 7
  %class = load ptr, ptr %class.at
  %tensors = call ptr @wrap_all(ptr %results, ptr %numbers, i64 %returned, ptr %arrays, ptr %class)
  br label %end
end:
  %answer = phi ptr [ null, %short ], [ null, %compute ], [ null, %settle ], [ %tensor, %single ],
      [ %tensors, %tuple ]
  call void @drop(ptr %arrays, i64 %made)
  ret ptr %answer
}

; What Python gets of an answer: itself, or a list with it if it has yet to be recorded; null with
; an exception. %recorded: what `record` says.
define internal ptr @given_back(ptr %answer, i32 %recorded) alwaysinline {
  switch i32 %recorded, label %out [
    i32 1, label %leave
    i32 -1, label %undo
  ]
leave:
  %list = call ptr @PyList_New(i64 1)
  %listed = icmp ne ptr %list, null
  br i1 %listed, label %put, label %undo
put:
  %set = call i32 @PyList_SetItem(ptr %list, i64 0, ptr %answer)
  ret ptr %list
undo:
  call void @Py_DecRef(ptr %answer)
  ret ptr null
out:
  ret ptr %answer
}

define ptr @quick(ptr %self, ptr %args, i64 %positional, ptr %names) {
  %call = alloca %call, align 16
  %undisturbed = call i1 @undisturbed()
  %named = call i64 @name_count(ptr %names)
  %count = add i64 %positional, %named
  %few = icmp sle i64 %count, {MOST_ARGUMENTS}
  %fine = and i1 %undisturbed, %few
  br i1 %fine, label %look, label %pass
look:
  %entry = call ptr @lookup(ptr %self, ptr %call, ptr %args, i64 %count, ptr %names, i64 %named)
  %there = icmp ne ptr %entry, null
  br i1 %there, label %do, label %pass
do:
  %answer = call ptr @carry_out(ptr %entry, ptr %call, ptr null)
  %done = icmp ne ptr %answer, null
  br i1 %done, label %record, label %failed
record:
  %words = getelementptr i8, ptr %self, i64 {BYTES}
  %targets.at = getelementptr i64, ptr %words, i64 2
  %targets = load i64, ptr %targets.at, align 1
  %listed.at = getelementptr %call, ptr %call, i64 0, i32 5
  %with.lists = load i64, ptr %listed.at
  %flat = icmp eq i64 %with.lists, 0
  br i1 %flat, label %plain, label %lists
plain:
  %recorded.plain = call i32 @record(ptr %entry, ptr %args, i64 %count, i64 %targets, ptr %answer,
      ptr @iskra_edge)
  br label %settle
lists:
  %recorded.lists = call i32 @record_lists(ptr %entry, ptr %args, i64 %count, i64 %targets,
      ptr %answer)
  br label %settle
settle:
  %recorded = phi i32 [ %recorded.plain, %plain ], [ %recorded.lists, %lists ]
  %given = call ptr @given_back(ptr %answer, i32 %recorded)
  ret ptr %given
failed:
  %error = call ptr @PyErr_Occurred()
  %raised = icmp ne ptr %error, null
  br i1 %raised, label %out, label %pass
out:
  ret ptr %answer
pass:
  call void @Py_IncRef(ptr @iskra_none)
  ret ptr @iskra_none
}
"""
