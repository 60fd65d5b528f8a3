"""The machine code behind every `native.builtin`, as LLVM IR: Python arguments to kernel slots.

    ptr call(ptr self, ptr args, i64 count)

is a function of Python's C interface (METH_FASTCALL). `self` is a bytes object that describes the
kernel: its address, the address of its name, the number of its arguments, and their kinds.
"""

import string

from iskra.runtime.pool_ir import FORKED

# How many slots a call may fill.
SLOTS = 96

KINDS = {
    "a": "an ndarray or None",
    "i": "an int of 64 bits",
    "f": "a float",
    "t": "a tuple of ints of 64 bits",
    "l": "a list or tuple of ndarrays",
    "n": "an int of 64 bits (the number of tasks)",
}


def wrapper_ir(layout):
    """Return the wrapper's IR. layout: offsets (bytes) of what it reads in Python's objects."""
    messages = {
        **{f"expected.{kind}": text for kind, text in KINDS.items()},
        "argument": "%s(): argument %d must be %s, not %R",
        "count": "%s() takes %zd arguments, but %zd were given",
        "slots": f"%s(): the arguments fill more than {SLOTS} slots",
        "forked": "%s(): a signal handler forked while the kernel ran on several threads; "
                  "its result is incomplete in the child",
    }
    values = {**layout, "SLOTS": SLOTS, "FORKED": FORKED,
              "MESSAGES": "\n".join(map(_constant, messages, messages.values()))}
    text = _WRAPPER
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def _constant(name, text):
    plain = string.ascii_letters + string.digits + " ,.;:()%"
    coded = "".join(c if c in plain else f"\\{ord(c):02x}" for c in text)
    return f'@{name} = private constant [{len(text) + 1} x i8] c"{coded}\\00"'


_WRAPPER = """
@iskra_none = external global i8
@iskra_ndarray = external global i8
@iskra_tuple = external global i8
@iskra_list = external global i8
@iskra_watcher = external global ptr
@PyExc_TypeError = external global ptr
@PyExc_OverflowError = external global ptr
@PyExc_ValueError = external global ptr
@PyExc_RuntimeError = external global ptr
{MESSAGES}

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyList_AsTuple(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare ptr @PyBytes_FromStringAndSize(ptr, i64)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_ExceptionMatches(ptr)
declare void @PyErr_Clear()
declare ptr @PyErr_Format(ptr, ptr, ...)
declare i32 @PyErr_CheckSignals()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @pool_run_polled(ptr, ptr, i64, ptr, ptr)

define internal i1 @is_a(ptr %object, ptr %class) {
  %type.at = getelementptr i8, ptr %object, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %exact = icmp eq ptr %type, %class
  br i1 %exact, label %yes, label %look
look:
  %below = call i32 @PyType_IsSubtype(ptr %type, ptr %class)
  %answer = icmp ne i32 %below, 0
  ret i1 %answer
yes:
  ret i1 true
}

; The ints of a tuple into slots; the number of the item that is none, or -1.
define internal i64 @unpack_ints(ptr %tuple, i64 %size, ptr %slots) {
  %items = getelementptr i8, ptr %tuple, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %value = call i64 @PyLong_AsLongLong(ptr %item)
  %slot = getelementptr i64, ptr %slots, i64 %i
  store i64 %value, ptr %slot
  %odd = icmp eq i64 %value, -1
  br i1 %odd, label %check, label %next
check:
  %error = call ptr @PyErr_Occurred()
  %bad = icmp ne ptr %error, null
  br i1 %bad, label %failed, label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
failed:
  ret i64 %i
done:
  ret i64 -1
}

; The addresses of a tuple's arrays into a table; the number of the item that is none, or -1.
define internal i64 @unpack_arrays(ptr %tuple, i64 %size, ptr %table) {
  %items = getelementptr i8, ptr %tuple, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %good = call i1 @is_a(ptr %item, ptr @iskra_ndarray)
  br i1 %good, label %next, label %failed
next:
  %data.at = getelementptr i8, ptr %item, i64 {DATA}
  %data = load ptr, ptr %data.at
  %entry = getelementptr ptr, ptr %table, i64 %i
  store ptr %data, ptr %entry
  %i.next = add i64 %i, 1
  br label %loop
failed:
  ret i64 %i
done:
  ret i64 -1
}

; Raises for an argument of the wrong kind. What Python code raised meanwhile is left as it is,
; unless it complains of the same.
define internal void @complain(ptr %name, i64 %position, ptr %expected, ptr %argument) {
  %before = call ptr @PyErr_Occurred()
  %silent = icmp eq ptr %before, null
  %type.error = load ptr, ptr @PyExc_TypeError
  br i1 %silent, label %raise, label %look
look:
  %overflow.error = load ptr, ptr @PyExc_OverflowError
  %overflow = call i32 @PyErr_ExceptionMatches(ptr %overflow.error)
  %is.overflow = icmp ne i32 %overflow, 0
  br i1 %is.overflow, label %replace, label %look.further
look.further:
  %type = call i32 @PyErr_ExceptionMatches(ptr %type.error)
  %is.type = icmp ne i32 %type, 0
  br i1 %is.type, label %replace, label %leave
replace:
  %chosen = phi ptr [ %overflow.error, %look ], [ %type.error, %look.further ]
  call void @PyErr_Clear()
  br label %raise
raise:
  %error = phi ptr [ %type.error, %0 ], [ %chosen, %replace ]
  %class.at = getelementptr i8, ptr %argument, i64 {TYPE}
  %class = load ptr, ptr %class.at
  %shown = add i64 %position, 1
  %number = trunc i64 %shown to i32
  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %error, ptr @argument, ptr %name, i32 %number,
      ptr %expected, ptr %class)
  ret void
leave:
  ret void
}

; On the launching thread, which has released the GIL: its thread state lies in %place.
define internal i32 @poll(ptr %place) {
  %state = load ptr, ptr %place
  call void @PyEval_RestoreThread(ptr %state)
  %raised = call i32 @PyErr_CheckSignals()
  %state.new = call ptr @PyEval_SaveThread()
  store ptr %state.new, ptr %place
  %stop = icmp ne i32 %raised, 0
  %answer = zext i1 %stop to i32
  ret i32 %answer
}

; Runs several tasks without the GIL; 0, or -1 with an exception.
define i32 @run_many(ptr %name, ptr %kernel, ptr %slots, i64 %tasks) {
  %place = alloca ptr
  %state = call ptr @PyEval_SaveThread()
  store ptr %state, ptr %place
  %result = call i32 @pool_run_polled(ptr %kernel, ptr %slots, i64 %tasks, ptr @poll, ptr %place)
  %state.now = load ptr, ptr %place
  call void @PyEval_RestoreThread(ptr %state.now)
  switch i32 %result, label %stopped [ i32 0, label %done  i32 {FORKED}, label %forked ]
forked:
  %runtime.error = load ptr, ptr @PyExc_RuntimeError
  %pending = call ptr @PyErr_Occurred()
  %raised = icmp ne ptr %pending, null
  br i1 %raised, label %stopped, label %tell
tell:
  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %runtime.error, ptr @forked, ptr %name)
  ret i32 -1
stopped:
  ret i32 -1
done:
  ret i32 0
}

define ptr @call(ptr %self, ptr %args, i64 %count) {
  %slots = alloca [{SLOTS} x i64], align 16
  %owned = alloca [256 x ptr], align 16       ; references to drop at the end: two for each list
  %used.var = alloca i64                      ; slots filled so far
  %owns.var = alloca i64
  %position.var = alloca i64
  store i64 0, ptr %used.var
  store i64 0, ptr %owns.var
  store i64 0, ptr %position.var
  %watcher = load ptr, ptr @iskra_watcher
  %watched = icmp ne ptr %watcher, null
  br i1 %watched, label %report, label %begin

report:
  %told = alloca [256 x ptr], align 16
  store ptr %self, ptr %told
  %told.args = getelementptr ptr, ptr %told, i64 1
  %short = icmp slt i64 %count, 255
  %told.count = select i1 %short, i64 %count, i64 0
  %told.bytes = mul i64 %told.count, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %told.args, ptr %args, i64 %told.bytes, i1 false)
  %all.told = add i64 %told.count, 1
  %heard = call ptr @PyObject_Vectorcall(ptr %watcher, ptr %told, i64 %all.told, ptr null)
  %unheard = icmp eq ptr %heard, null
  br i1 %unheard, label %not.run, label %heard.out
not.run:
  ret ptr null
heard.out:
  call void @Py_DecRef(ptr %heard)
  br label %begin

begin:
  %kernel.at = getelementptr i8, ptr %self, i64 {BYTES}
  %name.at = getelementptr ptr, ptr %kernel.at, i64 1
  %kinds.count.at = getelementptr ptr, ptr %kernel.at, i64 2
  %kinds = getelementptr ptr, ptr %kernel.at, i64 3
  %kernel = load ptr, ptr %kernel.at, align 1
  %name = load ptr, ptr %name.at, align 1
  %kinds.count = load i64, ptr %kinds.count.at, align 1
  %right.count = icmp eq i64 %count, %kinds.count
  br i1 %right.count, label %argument, label %wrong.count

argument:
  %position = load i64, ptr %position.var
  %used = load i64, ptr %used.var
  %kind.at = getelementptr i8, ptr %kinds, i64 %position
  %kind = load i8, ptr %kind.at
  %arg.at = getelementptr ptr, ptr %args, i64 %position
  %arg = load ptr, ptr %arg.at
  %slot = getelementptr i64, ptr %slots, i64 %used
  %is.tuple.kind = icmp eq i8 %kind, 116
  %is.last.kind = icmp eq i8 %kind, 110
  %any.size = or i1 %is.tuple.kind, %is.last.kind
  %room = icmp slt i64 %used, {SLOTS}
  %fits = or i1 %room, %any.size
  br i1 %fits, label %convert, label %too.many

convert:
  switch i8 %kind, label %last [
    i8 97, label %array
    i8 105, label %int
    i8 102, label %float
    i8 116, label %tuple
    i8 108, label %list
  ]

array:
  %array.good = call i1 @is_a(ptr %arg, ptr @iskra_ndarray)
  br i1 %array.good, label %array.data, label %array.none
array.data:
  %data.at = getelementptr i8, ptr %arg, i64 {DATA}
  %data = load ptr, ptr %data.at
  store ptr %data, ptr %slot
  br label %one.more
array.none:
  store ptr null, ptr %slot
  %is.none = icmp eq ptr %arg, @iskra_none
  br i1 %is.none, label %one.more, label %bad

int:
  %int.value = call i64 @PyLong_AsLongLong(ptr %arg)
  store i64 %int.value, ptr %slot
  %int.odd = icmp eq i64 %int.value, -1
  br i1 %int.odd, label %check, label %one.more

float:
  %float.value = call double @PyFloat_AsDouble(ptr %arg)
  store double %float.value, ptr %slot
  %float.odd = fcmp oeq double %float.value, -1.0
  br i1 %float.odd, label %check, label %one.more

check:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %one.more, label %bad

tuple:
  %tuple.good = call i1 @is_a(ptr %arg, ptr @iskra_tuple)
  br i1 %tuple.good, label %tuple.fit, label %bad
tuple.fit:
  %tuple.size.at = getelementptr i8, ptr %arg, i64 {SIZE}
  %tuple.size = load i64, ptr %tuple.size.at
  %used.after = add i64 %used, %tuple.size
  %tuple.fits = icmp sle i64 %used.after, {SLOTS}
  br i1 %tuple.fits, label %tuple.items, label %too.many
tuple.items:
  %tuple.bad = call i64 @unpack_ints(ptr %arg, i64 %tuple.size, ptr %slot)
  store i64 %used.after, ptr %used.var
  %tuple.fine = icmp slt i64 %tuple.bad, 0
  br i1 %tuple.fine, label %next, label %tuple.item
tuple.item:
  br label %bad

list:
  ; A list may change while the GIL is released; a tuple of its items holds on to them.
  %owns = load i64, ptr %owns.var
  %tuple.slot = getelementptr ptr, ptr %owned, i64 %owns
  %owns.1 = add i64 %owns, 1
  %table.slot = getelementptr ptr, ptr %owned, i64 %owns.1
  %owns.2 = add i64 %owns, 2
  %list.tuple = call i1 @is_a(ptr %arg, ptr @iskra_tuple)
  br i1 %list.tuple, label %list.share, label %list.look
list.share:
  call void @Py_IncRef(ptr %arg)
  br label %list.have
list.look:
  %list.good = call i1 @is_a(ptr %arg, ptr @iskra_list)
  br i1 %list.good, label %list.copy, label %bad
list.copy:
  %copy = call ptr @PyList_AsTuple(ptr %arg)
  %copied = icmp ne ptr %copy, null
  br i1 %copied, label %list.have, label %fail
list.have:
  %arrays = phi ptr [ %arg, %list.share ], [ %copy, %list.copy ]
  store ptr %arrays, ptr %tuple.slot
  store i64 %owns.1, ptr %owns.var
  %arrays.size.at = getelementptr i8, ptr %arrays, i64 {SIZE}
  %arrays.size = load i64, ptr %arrays.size.at
  %table.size = mul i64 %arrays.size, 8
  %table = call ptr @PyBytes_FromStringAndSize(ptr null, i64 %table.size)
  %tabled = icmp ne ptr %table, null
  br i1 %tabled, label %list.fill, label %fail
list.fill:
  store ptr %table, ptr %table.slot
  store i64 %owns.2, ptr %owns.var
  %entries = getelementptr i8, ptr %table, i64 {BYTES}
  store ptr %entries, ptr %slot
  %list.bad = call i64 @unpack_arrays(ptr %arrays, i64 %arrays.size, ptr %entries)
  %list.fine = icmp slt i64 %list.bad, 0
  br i1 %list.fine, label %one.more, label %bad

one.more:
  %used.one = add i64 %used, 1
  store i64 %used.one, ptr %used.var
  br label %next
next:
  %position.next = add i64 %position, 1
  store i64 %position.next, ptr %position.var
  br label %argument

last:
  %tasks = call i64 @PyLong_AsLongLong(ptr %arg)
  %several = icmp sgt i64 %tasks, 1
  br i1 %several, label %many, label %few
many:
  %many.result = call i32 @run_many(ptr %name, ptr %kernel, ptr %slots, i64 %tasks)
  %many.good = icmp eq i32 %many.result, 0
  br i1 %many.good, label %good, label %fail
few:
  %single = icmp eq i64 %tasks, 1
  br i1 %single, label %one, label %none
one:
  call void %kernel(ptr %slots, i64 0)
  br label %good
none:
  %none.odd = icmp eq i64 %tasks, -1
  br i1 %none.odd, label %none.check, label %good
none.check:
  %none.error = call ptr @PyErr_Occurred()
  %none.clean = icmp eq ptr %none.error, null
  br i1 %none.clean, label %good, label %bad

wrong.count:
  %count.error = load ptr, ptr @PyExc_TypeError
  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %count.error, ptr @count, ptr %name,
      i64 %kinds.count, i64 %count)
  br label %fail
too.many:
  %value.error = load ptr, ptr @PyExc_ValueError
  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %value.error, ptr @slots, ptr %name)
  br label %fail
bad:
  %expected = call ptr @expectation(i8 %kind)
  call void @complain(ptr %name, i64 %position, ptr %expected, ptr %arg)
  br label %fail
fail:
  call void @drop(ptr %owned, ptr %owns.var)
  ret ptr null
good:
  call void @drop(ptr %owned, ptr %owns.var)
  call void @Py_IncRef(ptr @iskra_none)
  ret ptr @iskra_none
}

define internal ptr @expectation(i8 %kind) {
  switch i8 %kind, label %n [
    i8 97, label %a
    i8 105, label %i
    i8 102, label %f
    i8 116, label %t
    i8 108, label %l
  ]
a:
  ret ptr @expected.a
i:
  ret ptr @expected.i
f:
  ret ptr @expected.f
t:
  ret ptr @expected.t
l:
  ret ptr @expected.l
n:
  ret ptr @expected.n
}

define internal void @drop(ptr %owned, ptr %owns.var) {
  %owns = load i64, ptr %owns.var
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %owns
  br i1 %more, label %one, label %done
one:
  %at = getelementptr ptr, ptr %owned, i64 %i
  %object = load ptr, ptr %at
  call void @Py_DecRef(ptr %object)
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}
"""
