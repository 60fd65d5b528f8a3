"""The part of `quick_ir` that writes a known call's result into a tensor that is there already:

    ptr write(ptr self, ptr args, i64 count, ptr names)

is ``write(target, *args, **settings)``, or ``write(*args, **settings)`` where the call's first
argument is the target itself. Two words in `self` after those of `quick` tell which: how many
arguments go before the call's own, 1 or 0, and whether a target that is apart may be an argument
too. It gives the target, or None where nothing was done: a call that is not known, a target that
the result does not fit (another dtype or shape), that is not contiguous or was made in inference
mode, or, being apart, might share memory with an argument; or a call that has to be recorded,
unless it is known how (`quick_history_ir`).

Kernels write into a target that is apart from all arguments, and maps over an operand. Otherwise
the result is made first and copied then, if it is small: overlaps do no harm, but have to be
refused.
"""

MOST_COPIED = 4096      # elements; for more, kernels that write over an operand pay
MOST_KEPT = 1 << 18     # elements; for more, a recorded write is left to Python

WRITING = """
@iskra_storage_of = external global i8
@iskra_is_inference = external global i8
@iskra_joins_graph = external global i8

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare ptr @PyLong_FromLongLong(i64)

; Whether an attribute of an object is the given one: 1, 0, or -1 with an exception.
define internal i32 @has(ptr %object, ptr %name, ptr %expected) {
  %found = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  %failed = icmp eq ptr %found, null
  br i1 %failed, label %error, label %compare
compare:
  call void @Py_DecRef(ptr %found)
  %same = icmp eq ptr %found, %expected
  %answer = zext i1 %same to i32
  ret i32 %answer
error:
  ret i32 -1
}

; Whether a call is to be recorded: 1, 0, or -1 with an exception.
define internal i32 @is_taped(ptr %args, i64 %count) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %no
one:
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
  %type.at = getelementptr i8, ptr %arg, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_plain(ptr %type)
  br i1 %is.tensor, label %ask, label %next
ask:
  %free = call i32 @has(ptr %arg, ptr @iskra_requires_grad, ptr @iskra_false)
  switch i32 %free, label %perhaps [
    i32 1, label %next
    i32 -1, label %error
  ]
perhaps:
  %recording = call i32 @records()
  switch i32 %recording, label %closer [
    i32 0, label %no
    i32 -1, label %error
  ]
closer:
  %joins = call i32 @has(ptr %arg, ptr @iskra_joins_graph, ptr @iskra_false)
  switch i32 %joins, label %yes [
    i32 1, label %next
    i32 -1, label %error
  ]
next:
  %i.next = add i64 %i, 1
  br label %loop
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}

; How many elements an array has.
define internal i64 @elements(ptr %array) {
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank = load i32, ptr %rank.at
  %dims.at = getelementptr i8, ptr %array, i64 {DIMS}
  %dims = load ptr, ptr %dims.at
  br label %loop
loop:
  %i = phi i32 [ 0, %0 ], [ %i.next, %one ]
  %product = phi i64 [ 1, %0 ], [ %product.next, %one ]
  %more = icmp slt i32 %i, %rank
  br i1 %more, label %one, label %done
one:
  %dim.at = getelementptr i64, ptr %dims, i32 %i
  %dim = load i64, ptr %dim.at
  %product.next = mul i64 %product, %dim
  %i.next = add i32 %i, 1
  br label %loop
done:
  ret i64 %product
}

; The addresses between which an array's elements lie; the last one's bytes are taken for 16.
define internal void @reach(ptr %array, ptr %low.place, ptr %high.place) {
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load i64, ptr %data.at
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank = load i32, ptr %rank.at
  %dims.at = getelementptr i8, ptr %array, i64 {DIMS}
  %dims = load ptr, ptr %dims.at
  %strides.at = getelementptr i8, ptr %array, i64 {STRIDES}
  %strides = load ptr, ptr %strides.at
  %end = add i64 %data, 16
  br label %loop
loop:
  %i = phi i32 [ 0, %0 ], [ %i.next, %one ]
  %low = phi i64 [ %data, %0 ], [ %low.next, %one ]
  %high = phi i64 [ %end, %0 ], [ %high.next, %one ]
  %more = icmp slt i32 %i, %rank
  br i1 %more, label %one, label %done
one:
  %dim.at = getelementptr i64, ptr %dims, i32 %i
  %dim = load i64, ptr %dim.at
  %stride.at = getelementptr i64, ptr %strides, i32 %i
  %stride = load i64, ptr %stride.at
  %last = sub i64 %dim, 1
  %some = icmp sgt i64 %last, 0
  %steps = select i1 %some, i64 %last, i64 0
  %way = mul i64 %steps, %stride
  %down = icmp slt i64 %way, 0
  %below = select i1 %down, i64 %way, i64 0
  %above = select i1 %down, i64 0, i64 %way
  %low.next = add i64 %low, %below
  %high.next = add i64 %high, %above
  %i.next = add i32 %i, 1
  br label %loop
done:
  store i64 %low, ptr %low.place
  store i64 %high, ptr %high.place
  ret void
}

; Whether no argument shares memory with the array, or (if `%same` is not 0) is that array.
define internal i1 @is_apart(ptr %array, ptr %args, i64 %count, i64 %same) {
  %low.var = alloca i64
  %high.var = alloca i64
  %own.low.var = alloca i64
  %own.high.var = alloca i64
  call void @reach(ptr %array, ptr %own.low.var, ptr %own.high.var)
  %own.low = load i64, ptr %own.low.var
  %own.high = load i64, ptr %own.high.var
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
  %type.at = getelementptr i8, ptr %arg, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_tensor(ptr %type)
  br i1 %is.tensor, label %compare, label %next
compare:
  %other.at = getelementptr i8, ptr %arg, i64 {ARRAY}
  %other = load ptr, ptr %other.at
  %is.same = icmp eq ptr %other, %array
  br i1 %is.same, label %itself, label %look
itself:
  %allowed = icmp ne i64 %same, 0
  br i1 %allowed, label %next, label %no
look:
  call void @reach(ptr %other, ptr %low.var, ptr %high.var)
  %low = load i64, ptr %low.var
  %high = load i64, ptr %high.var
  %before = icmp sle i64 %high, %own.low
  %after = icmp sle i64 %own.high, %low
  %clear = or i1 %before, %after
  br i1 %clear, label %next, label %no
next:
  %i.next = add i64 %i, 1
  br label %loop
no:
  ret i1 false
yes:
  ret i1 true
}

; The array of a tensor that may be written to as plain memory; null for others.
define internal ptr @plain_memory(ptr %target) {
  %type.at = getelementptr i8, ptr %target, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_plain(ptr %type)
  br i1 %is.tensor, label %look, label %no
look:
  %array.at = getelementptr i8, ptr %target, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  %missing = icmp eq ptr %array, null
  br i1 %missing, label %no, label %kind
kind:
  %array.type.at = getelementptr i8, ptr %array, i64 {TYPE}
  %array.type = load ptr, ptr %array.type.at
  %plain = icmp eq ptr %array.type, @iskra_ndarray
  br i1 %plain, label %inside, label %no
inside:
  %flags.at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %told = and i32 %flags, 1281      ; contiguous, aligned, writeable
  %all = icmp eq i32 %told, 1281
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank = load i32, ptr %rank.at
  %some = icmp sgt i32 %rank, 0
  %good = and i1 %all, %some
  br i1 %good, label %yes, label %no
yes:
  ret ptr %array
no:
  ret ptr null
}

; Whether a result is a tensor of the target's dtype and shape.
define internal i1 @fits(ptr %result, ptr %target) {
  %type.at = getelementptr i8, ptr %result, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = icmp eq ptr %type, @iskra_tensor
  br i1 %is.tensor, label %dtypes, label %no
dtypes:
  %own.at = getelementptr i8, ptr %result, i64 {DTYPE}
  %own = load ptr, ptr %own.at
  %given.at = getelementptr i8, ptr %target, i64 {DTYPE}
  %given = load ptr, ptr %given.at
  %same.dtype = icmp eq ptr %own, %given
  br i1 %same.dtype, label %ranks, label %no
ranks:
  %array.at = getelementptr i8, ptr %result, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  %other.at = getelementptr i8, ptr %target, i64 {ARRAY}
  %other = load ptr, ptr %other.at
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank = load i32, ptr %rank.at
  %other.rank.at = getelementptr i8, ptr %other, i64 {RANK}
  %other.rank = load i32, ptr %other.rank.at
  %same.rank = icmp eq i32 %rank, %other.rank
  br i1 %same.rank, label %sizes, label %no
sizes:
  %dims.at = getelementptr i8, ptr %array, i64 {DIMS}
  %dims = load ptr, ptr %dims.at
  %other.dims.at = getelementptr i8, ptr %other, i64 {DIMS}
  %other.dims = load ptr, ptr %other.dims.at
  %rank.long = sext i32 %rank to i64
  %same = call i1 @equal(ptr %dims, ptr %other.dims, i64 %rank.long)
  ret i1 %same
no:
  ret i1 false
}

; Whether an entry's steps can write their one result into a tensor's array instead of a fresh one.
; Where they may find that the call has to raise they cannot: it would be written already.
; %anywhere: whether the steps do without aligned memory.
define internal i1 @can_hold(ptr %target, ptr %array, ptr %entry, i1 %anywhere) {
  %length.at = getelementptr i64, ptr %entry, i64 1
  %length = load i64, ptr %length.at
  %returned.at = getelementptr i64, ptr %entry, i64 4
  %returned = load i64, ptr %returned.at
  %doubts.at = getelementptr i64, ptr %entry, i64 6
  %doubts = load i64, ptr %doubts.at
  %others = or i64 %returned, %doubts
  %alone = icmp eq i64 %others, 0
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load i64, ptr %data.at
  %rest = and i64 %data, 63         ; kernels may count on it, see `runtime.memory`
  %begins = icmp eq i64 %rest, 0
  %aligned = or i1 %begins, %anywhere
  %plain = and i1 %alone, %aligned
  br i1 %plain, label %dtypes, label %no
dtypes:
  %key = getelementptr i64, ptr %entry, i64 {HEADER}
  %result = getelementptr i64, ptr %key, i64 %length
  %descr.at = getelementptr ptr, ptr %result, i64 1
  %descr = load ptr, ptr %descr.at
  %own.descr.at = getelementptr i8, ptr %array, i64 {DESCR}
  %own.descr = load ptr, ptr %own.descr.at
  %same.descr = icmp eq ptr %descr, %own.descr
  %dtype.at = getelementptr ptr, ptr %result, i64 2
  %dtype = load ptr, ptr %dtype.at
  %own.dtype.at = getelementptr i8, ptr %target, i64 {DTYPE}
  %own.dtype = load ptr, ptr %own.dtype.at
  %same.dtype = icmp eq ptr %dtype, %own.dtype
  %same = and i1 %same.descr, %same.dtype
  br i1 %same, label %ranks, label %no
ranks:
  %shape = load ptr, ptr %result
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank.short = load i32, ptr %rank.at
  %rank = sext i32 %rank.short to i64
  %expected.at = getelementptr i8, ptr %shape, i64 {SIZE}
  %expected = load i64, ptr %expected.at
  %same.rank = icmp eq i64 %rank, %expected
  %items = getelementptr i8, ptr %shape, i64 {ITEMS}
  %dims.at = getelementptr i8, ptr %array, i64 {DIMS}
  %dims = load ptr, ptr %dims.at
  br i1 %same.rank, label %loop, label %no
loop:
  %i = phi i64 [ 0, %ranks ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %yes
one:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %wanted = call i64 @PyLong_AsLongLong(ptr %item)
  %dim.at = getelementptr i64, ptr %dims, i64 %i
  %dim = load i64, ptr %dim.at
  %same.size = icmp eq i64 %wanted, %dim
  br i1 %same.size, label %next, label %no
next:
  %i.next = add i64 %i, 1
  br label %loop
yes:
  ret i1 true
no:
  ret i1 false
}

; How many bytes an array's elements have.
define internal i64 @bytes_of(ptr %array) {
  %descr.at = getelementptr i8, ptr %array, i64 {DESCR}
  %descr = load ptr, ptr %descr.at
  %item.at = getelementptr i8, ptr %descr, i64 {ITEM_SIZE}
  %item = load i64, ptr %item.at
  %elements = call i64 @elements(ptr %array)
  %bytes = mul i64 %elements, %item
  ret i64 %bytes
}

define internal void @copy_bytes(ptr %array, ptr %other, i64 %bytes) {
  %from.at = getelementptr i8, ptr %array, i64 {DATA}
  %from = load ptr, ptr %from.at
  %to.at = getelementptr i8, ptr %other, i64 {DATA}
  %to = load ptr, ptr %to.at
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  ret void
}

; A tensor's storage, whose reference the caller gets; null with an exception.
define internal ptr @storage_of(ptr %tensor) {
  %storage = call ptr @PyObject_GetAttr(ptr %tensor, ptr @iskra_storage_name)
  %is.none = icmp eq ptr %storage, @iskra_none
  br i1 %is.none, label %make, label %out
make:
  call void @Py_DecRef(ptr %storage)
  %made = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr @iskra_storage_of, ptr %tensor,
      ptr null)
  br label %out
out:
  %answer = phi ptr [ %storage, %0 ], [ %made, %make ]
  ret ptr %answer
}

; Note that a tensor's memory has been written; false with an exception.
define internal i1 @bump(ptr %tensor) {
  %storage = call ptr @storage_of(ptr %tensor)
  %failed = icmp eq ptr %storage, null
  br i1 %failed, label %error, label %count
count:
  %version.at = getelementptr i8, ptr %storage, i64 {VERSION}
  %version = load ptr, ptr %version.at
  %number = call i64 @PyLong_AsLongLong(ptr %version)
  %next = add i64 %number, 1
  %object = call ptr @PyLong_FromLongLong(i64 %next)
  %none = icmp eq ptr %object, null
  br i1 %none, label %release, label %put
put:
  store ptr %object, ptr %version.at
  call void @Py_DecRef(ptr %version)
  br label %release
release:
  call void @Py_DecRef(ptr %storage)
  %good = xor i1 %none, true
  ret i1 %good
error:
  ret i1 false
}

define ptr @write(ptr %self, ptr %args, i64 %positional, ptr %names) {
  %call = alloca %call, align 16
  %edges = alloca [{MOST_RECORDED} x ptr]
  %mask.var = alloca i64
  %undisturbed = call i1 @undisturbed()
  %named = call i64 @name_count(ptr %names)
  %all = add i64 %positional, %named
  %words = getelementptr i8, ptr %self, i64 {BYTES}
  %before.at = getelementptr i64, ptr %words, i64 3
  %before = load i64, ptr %before.at, align 1
  %count = sub i64 %all, %before
  %own.args = getelementptr ptr, ptr %args, i64 %before
  %few = icmp sle i64 %count, {MOST_ARGUMENTS}
  %enough = icmp sgt i64 %positional, %before
  %right = and i1 %few, %enough
  %fine = and i1 %undisturbed, %right
  br i1 %fine, label %look, label %pass
look:
  %target = load ptr, ptr %args
  %array = call ptr @plain_memory(ptr %target)
  %other = icmp eq ptr %array, null
  br i1 %other, label %pass, label %search
search:
  %entry = call ptr @lookup(ptr %self, ptr %call, ptr %own.args, i64 %count, ptr %names, i64 %named)
  %unknown = icmp eq ptr %entry, null
  br i1 %unknown, label %pass, label %lists
lists:
  %listed.at = getelementptr %call, ptr %call, i64 0, i32 5
  %listed = load i64, ptr %listed.at
  %flat = icmp eq i64 %listed, 0
  br i1 %flat, label %memory, label %pass
memory:
  %given.apart = icmp ne i64 %before, 0
  br i1 %given.apart, label %overlap, label %size
overlap:
  %apart = call i1 @is_apart(ptr %array, ptr %own.args, i64 %count, i64 0)
  br i1 %apart, label %hold, label %shared
hold:
  %map.at = getelementptr i64, ptr %entry, i64 8
  %map = load i64, ptr %map.at
  %anywhere = icmp ne i64 %map, 0
  %holds = call i1 @can_hold(ptr %target, ptr %array, ptr %entry, i1 %anywhere)
  br i1 %holds, label %ask, label %size
shared:
  %same.at = getelementptr i64, ptr %words, i64 4
  %same = load i64, ptr %same.at, align 1
  %aligned = call i1 @is_apart(ptr %array, ptr %own.args, i64 %count, i64 %same)
  br i1 %aligned, label %size, label %pass
size:
  %elements = call i64 @elements(ptr %array)
  %small = icmp slt i64 %elements, {MOST_COPIED}
  br i1 %small, label %ask, label %large
large:
  %others.args = getelementptr ptr, ptr %args, i64 1
  %others.count = sub i64 %all, 1
  %over.at = getelementptr i64, ptr %entry, i64 8
  %over = load i64, ptr %over.at
  %is.map = icmp ne i64 %over, 0
  %within = xor i1 %given.apart, true
  %mapped = and i1 %is.map, %within
  br i1 %mapped, label %fit.over, label %pass
fit.over:
  %holds.over = call i1 @can_hold(ptr %target, ptr %array, ptr %entry, i1 true)
  br i1 %holds.over, label %clear, label %pass
clear:
  %clear.over = call i1 @is_apart(ptr %array, ptr %others.args, i64 %others.count, i64 1)
  br i1 %clear.over, label %ask, label %pass
ask:
  %place = phi ptr [ %array, %hold ], [ null, %size ], [ %array, %clear ]
  %free = call i32 @has(ptr %target, ptr @iskra_is_inference, ptr @iskra_false)
  switch i32 %free, label %pass [
    i32 1, label %tape
    i32 -1, label %error
  ]
tape:
  %taped = call i32 @is_taped(ptr %args, i64 %all)
  switch i32 %taped, label %recorded [
    i32 0, label %do
    i32 -1, label %error
  ]
recorded:
  %many = call i64 @elements(ptr %array)
  %short = icmp slt i64 %many, {MOST_KEPT}
  %in.place = xor i1 %given.apart, true
  %recordable = and i1 %short, %in.place
  br i1 %recordable, label %history, label %pass
history:
  %targets.at = getelementptr i64, ptr %words, i64 2
  %targets = load i64, ptr %targets.at, align 1
  %recording = call ptr @recording_of_write(ptr %entry, ptr %args, i64 %all, i64 %targets,
      ptr %edges, ptr %mask.var)
  %unrecorded = icmp eq ptr %recording, null
  br i1 %unrecorded, label %failed, label %make
make:
  %mask = load i64, ptr %mask.var
  %value = call ptr @carry_out(ptr %entry, ptr %call, ptr null)
  %computed = icmp ne ptr %value, null
  br i1 %computed, label %look.closer, label %let.go
look.closer:
  %fitting = call i1 @fits(ptr %value, ptr %target)
  br i1 %fitting, label %hang, label %unfit
hang:
  %length.at = getelementptr i64, ptr %entry, i64 1
  %length = load i64, ptr %length.at
  %key = getelementptr i64, ptr %entry, i64 {HEADER}
  %results = getelementptr i64, ptr %key, i64 %length
  %hung = call i32 @hang(ptr %recording, ptr %args, ptr %value, ptr %results, ptr %edges,
      ptr %target, ptr @iskra_edge)
  call void @drop_edges(ptr %edges, i64 %mask)
  %good = icmp eq i32 %hung, 0
  br i1 %good, label %note, label %undo
unfit:
  call void @drop_edges(ptr %edges, i64 %mask)
  br label %leave
let.go:
  call void @drop_edges(ptr %edges, i64 %mask)
  br label %failed
do:
  %result = call ptr @carry_out(ptr %entry, ptr %call, ptr %place)
  %done = icmp ne ptr %result, null
  br i1 %done, label %compare, label %failed
compare:
  %fits = call i1 @fits(ptr %result, ptr %target)
  br i1 %fits, label %note, label %leave
note:
  %whole = phi ptr [ %result, %compare ], [ %value, %hang ]
  %target.held = phi ptr [ %place, %compare ], [ null, %hang ]
  %noted = call i1 @bump(ptr %target)
  br i1 %noted, label %put, label %undo
put:
  %written = icmp ne ptr %target.held, null
  br i1 %written, label %give, label %copy
copy:
  %made.at = getelementptr i8, ptr %whole, i64 {ARRAY}
  %made = load ptr, ptr %made.at
  %bytes = call i64 @bytes_of(ptr %made)
  call void @copy_bytes(ptr %made, ptr %array, i64 %bytes)
  br label %give
give:
  call void @Py_DecRef(ptr %whole)
  call void @Py_IncRef(ptr %target)
  ret ptr %target
leave:
  %misfit = phi ptr [ %result, %compare ], [ %value, %unfit ]
  call void @Py_DecRef(ptr %misfit)
  br label %pass
undo:
  %unused = phi ptr [ %whole, %note ], [ %value, %hang ]
  call void @Py_DecRef(ptr %unused)
  br label %error
failed:
  %raised = call ptr @PyErr_Occurred()
  %is.error = icmp ne ptr %raised, null
  br i1 %is.error, label %error, label %pass
error:
  ret ptr null
pass:
  call void @Py_IncRef(ptr @iskra_none)
  ret ptr @iskra_none
}
"""
