"""The part of `quick_ir` that records a call for backward: it makes the node, as
`iskra.dispatch.tape.hang` does, and hangs it on the result.

An entry's recordings form a list, one for each choice of arguments that want a gradient:

    next recording, the arguments (a bit for each position), node class, plan,
    edges, saved values, checked values, the node's output_shape and output_dtype, and the
    results (a bit for each) on which the node hangs
    for each edge          the argument's position, or -1 for none
    for each saved value   its kind (`SAVED_KINDS`) and the position, or the object

Where the answer is a tuple, the node hangs on some of its items; others have no gradient.

Writes in place have recordings of their own, `WRITTEN` among the bits: see `quick_history_ir`.
"""

SAVED_KINDS = {
    "argument": 0, "tensor": 1, "constant": 2, "result": 3, "hidden": 4, "original": 5,
    "item": 6,
}
MOST_RECORDED = 8       # arguments
WRITTEN = 1 << 32       # beside the arguments' bits

RECORDING = """
@iskra_true = external global i8
@iskra_false = external global i8
@iskra_empty_tuple = external global i8
@iskra_storage = external global i8
@iskra_local = external global i8
@iskra_sequence = external global i8
@iskra_gradient_edge = external global i8
@iskra_requires_grad = external global i8
@iskra_edge = external global i8
@iskra_storage_name = external global i8
@iskra_grad_enabled = external global i8

declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_SetAttr(ptr, ptr, ptr)
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
declare ptr @PyIter_Next(ptr)
declare ptr @PyLong_FromLong(i64)

; Whether this thread records: -1 with an exception.
define internal i32 @records() {
  %without.at = getelementptr i8, ptr @iskra_active, i64 {WITHOUT_GRAD}
  %without = load ptr, ptr %without.at
  %everywhere = icmp eq ptr %without, @iskra_zero
  br i1 %everywhere, label %yes, label %ask
yes:
  ret i32 1
ask:
  %own = call ptr @PyObject_GetAttr(ptr @iskra_local, ptr @iskra_grad_enabled)
  %failed = icmp eq ptr %own, null
  br i1 %failed, label %error, label %tell
tell:
  call void @Py_DecRef(ptr %own)
  %on = icmp eq ptr %own, @iskra_true
  %answer = zext i1 %on to i32
  ret i32 %answer
error:
  ret i32 -1
}

; A new reference to a tensor's edge, or null: with an exception or without.
define internal ptr @edge_of(ptr %tensor) {
  %edge = call ptr @PyObject_GetAttr(ptr %tensor, ptr @iskra_edge)
  %failed = icmp eq ptr %edge, null
  br i1 %failed, label %out, label %look
look:
  %is.none = icmp eq ptr %edge, @iskra_none
  br i1 %is.none, label %ask, label %out
ask:
  call void @Py_DecRef(ptr %edge)
  %found = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr @iskra_gradient_edge, ptr %tensor,
      ptr null)
  %nothing = icmp eq ptr %found, @iskra_none
  br i1 %nothing, label %none, label %out
none:
  call void @Py_DecRef(ptr %found)
  ret ptr null
out:
  %answer = phi ptr [ null, %0 ], [ %edge, %look ], [ %found, %ask ]
  ret ptr %answer
}

; The edges of the arguments in `targets`, and which there are: a bit for each, -1 on an exception,
; 0 also where nothing is recorded.
define internal i64 @gather(ptr %args, i64 %count, i64 %targets, ptr %edges) {
  %mask.var = alloca i64
  %asked.var = alloca i1
  store i64 0, ptr %mask.var
  store i1 false, ptr %asked.var
  %enough = icmp slt i64 %count, {MOST_RECORDED}
  %most = select i1 %enough, i64 %count, i64 {MOST_RECORDED}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %most
  br i1 %more, label %one, label %done
one:
  %edge.at = getelementptr ptr, ptr %edges, i64 %i
  store ptr null, ptr %edge.at
  %bit = shl i64 1, %i
  %among = and i64 %targets, %bit
  %is.target = icmp ne i64 %among, 0
  br i1 %is.target, label %look, label %next
look:
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
  %type.at = getelementptr i8, ptr %arg, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_plain(ptr %type)
  br i1 %is.tensor, label %ask, label %next
ask:
  %flag = call ptr @PyObject_GetAttr(ptr %arg, ptr @iskra_requires_grad)
  %failed = icmp eq ptr %flag, null
  br i1 %failed, label %error, label %flagged
flagged:
  call void @Py_DecRef(ptr %flag)
  %unwanted = icmp eq ptr %flag, @iskra_false
  br i1 %unwanted, label %next, label %wanted
wanted:
  %asked = load i1, ptr %asked.var
  br i1 %asked, label %take, label %check
check:
  store i1 true, ptr %asked.var
  %recording = call i32 @records()
  switch i32 %recording, label %take [
    i32 0, label %done
    i32 -1, label %error
  ]
take:
  %edge = call ptr @edge_of(ptr %arg)
  %without = icmp eq ptr %edge, null
  br i1 %without, label %perhaps.error, label %put
perhaps.error:
  %raised = call ptr @PyErr_Occurred()
  %is.error = icmp ne ptr %raised, null
  br i1 %is.error, label %error, label %next
put:
  store ptr %edge, ptr %edge.at
  %mask = load i64, ptr %mask.var
  %mask.more = or i64 %mask, %bit
  store i64 %mask.more, ptr %mask.var
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
error:
  %mask.error = load i64, ptr %mask.var
  call void @drop_edges(ptr %edges, i64 %mask.error)
  ret i64 -1
done:
  %answer = load i64, ptr %mask.var
  ret i64 %answer
}

define internal void @drop_edges(ptr %edges, i64 %mask) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %left = lshr i64 %mask, %i
  %more = icmp ne i64 %left, 0
  br i1 %more, label %one, label %done
one:
  %own = and i64 %left, 1
  %there = icmp ne i64 %own, 0
  br i1 %there, label %let.go, label %next
let.go:
  %at = getelementptr ptr, ptr %edges, i64 %i
  %edge = load ptr, ptr %at
  call void @Py_DecRef(ptr %edge)
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}

; The recording for a mask, or null.
define internal ptr @find_recording(ptr %entry, i64 %mask) {
  %first.at = getelementptr i64, ptr %entry, i64 5
  %first = load ptr, ptr %first.at
  br label %loop
loop:
  %recording = phi ptr [ %first, %0 ], [ %after, %next ]
  %missing = icmp eq ptr %recording, null
  br i1 %missing, label %out, label %look
look:
  %mask.at = getelementptr i64, ptr %recording, i64 1
  %own = load i64, ptr %mask.at
  %same = icmp eq i64 %own, %mask
  br i1 %same, label %out, label %next
next:
  %after = load ptr, ptr %recording
  br label %loop
out:
  ret ptr %recording
}

; A tuple of edges and Nones.
define internal ptr @tuple_of_edges(ptr %positions, i64 %count, ptr %edges) {
  %tuple = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %tuple, null
  br i1 %failed, label %lost, label %begin
begin:
  %items = getelementptr i8, ptr %tuple, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %position.at = getelementptr i64, ptr %positions, i64 %i
  %position = load i64, ptr %position.at
  %empty = icmp slt i64 %position, 0
  br i1 %empty, label %put, label %some
some:
  %edge.at = getelementptr ptr, ptr %edges, i64 %position
  %edge = load ptr, ptr %edge.at
  %absent = icmp eq ptr %edge, null
  %chosen = select i1 %absent, ptr @iskra_none, ptr %edge
  br label %put
put:
  %item = phi ptr [ @iskra_none, %one ], [ %chosen, %some ]
  call void @Py_IncRef(ptr %item)
  %item.at = getelementptr ptr, ptr %items, i64 %i
  store ptr %item, ptr %item.at
  %i.next = add i64 %i, 1
  br label %loop
lost:
  ret ptr null
done:
  ret ptr %tuple
}

; A new reference to the version of a tensor's storage, or null with an exception.
define internal ptr @version_of(ptr %tensor) {
  %storage = call ptr @PyObject_GetAttr(ptr %tensor, ptr @iskra_storage_name)
  %failed = icmp eq ptr %storage, null
  br i1 %failed, label %lost, label %look
look:
  call void @Py_DecRef(ptr %storage)
  %is.none = icmp eq ptr %storage, @iskra_none
  br i1 %is.none, label %unwritten, label %read
read:
  %version.at = getelementptr i8, ptr %storage, i64 {VERSION}
  %version = load ptr, ptr %version.at
  br label %out
unwritten:
  br label %out
out:
  %answer = phi ptr [ %version, %read ], [ @iskra_zero, %unwritten ]
  call void @Py_IncRef(ptr %answer)
  ret ptr %answer
lost:
  ret ptr null
}

; ``(place, version)``; takes over the version.
define internal ptr @check(i64 %place, ptr %version) {
  %pair = call ptr @PyTuple_New(i64 2)
  %failed = icmp eq ptr %pair, null
  br i1 %failed, label %lost, label %fill
fill:
  %number = call ptr @PyLong_FromLong(i64 %place)
  %items = getelementptr i8, ptr %pair, i64 {ITEMS}
  store ptr %number, ptr %items
  %second.at = getelementptr ptr, ptr %items, i64 1
  store ptr %version, ptr %second.at
  ret ptr %pair
lost:
  call void @Py_DecRef(ptr %version)
  ret ptr null
}

; Fill the tuples of saved values and of checks; false with an exception.
define internal i1 @save(ptr %codes, i64 %count, ptr %args, ptr %answer, ptr %result, ptr %values,
                         ptr %checks, ptr %results, ptr %edges, ptr %target) {
  %next.check.var = alloca i64
  %made = icmp eq ptr %target, null
  store i64 0, ptr %next.check.var
  %value.items = getelementptr i8, ptr %values, i64 {ITEMS}
  %check.items = getelementptr i8, ptr %checks, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %number = shl i64 %i, 1
  %kind.at = getelementptr i64, ptr %codes, i64 %number
  %kind = load i64, ptr %kind.at
  %given.at = getelementptr i64, ptr %kind.at, i64 1
  %given = load i64, ptr %given.at
  switch i64 %kind, label %argument [
    i64 1, label %argument
    i64 2, label %constant
    i64 3, label %result.value
    i64 4, label %hidden
    i64 5, label %before
    i64 6, label %hidden
  ]
argument:
  %arg.at = getelementptr ptr, ptr %args, i64 %given
  %arg = load ptr, ptr %arg.at
  call void @Py_IncRef(ptr %arg)
  br label %put
constant:
  %object = inttoptr i64 %given to ptr
  call void @Py_IncRef(ptr %object)
  br label %put
hidden:
  %hidden.items = getelementptr i8, ptr %answer, i64 {ITEMS}
  %hidden.at = getelementptr ptr, ptr %hidden.items, i64 %given
  %kept = load ptr, ptr %hidden.at
  call void @Py_IncRef(ptr %kept)
  br label %put
before:
  %own.edge = load ptr, ptr %edges
  %original = call ptr @original(ptr %target, ptr %own.edge, ptr %results)
  %uncopied = icmp eq ptr %original, null
  br i1 %uncopied, label %lost, label %put
result.value:
  br i1 %made, label %made.value, label %written.value
made.value:
  %saved = call ptr @saved_result(ptr %result)
  %unsaved = icmp eq ptr %saved, null
  br i1 %unsaved, label %lost, label %put
written.value:
  %held = call ptr @saved_target(ptr %target)
  %unheld = icmp eq ptr %held, null
  br i1 %unheld, label %lost, label %put
put:
  %value = phi ptr [ %arg, %argument ], [ %object, %constant ], [ %kept, %hidden ],
      [ %original, %before ], [ %saved, %made.value ], [ %held, %written.value ]
  %value.at = getelementptr ptr, ptr %value.items, i64 %i
  store ptr %value, ptr %value.at
  switch i64 %kind, label %next [
    i64 1, label %versioned
    i64 3, label %of.result
    i64 5, label %fresh
    i64 6, label %fresh
  ]
of.result:
  br i1 %made, label %fresh, label %after.write
after.write:
  %later = call ptr @next_version(ptr %target)
  %unsettled = icmp eq ptr %later, null
  br i1 %unsettled, label %lost, label %pair
versioned:
  %version = call ptr @version_of(ptr %value)
  %unknown = icmp eq ptr %version, null
  br i1 %unknown, label %lost, label %pair
fresh:
  call void @Py_IncRef(ptr @iskra_zero)
  br label %pair
pair:
  %found = phi ptr [ %version, %versioned ], [ @iskra_zero, %fresh ], [ %later, %after.write ]
  %check = call ptr @check(i64 %i, ptr %found)
  %unpaired = icmp eq ptr %check, null
  br i1 %unpaired, label %lost, label %note
note:
  %place = load i64, ptr %next.check.var
  %check.at = getelementptr ptr, ptr %check.items, i64 %place
  store ptr %check, ptr %check.at
  %place.next = add i64 %place, 1
  store i64 %place.next, ptr %next.check.var
  br label %next
next:
  %i.next = add i64 %i, 1
  br label %loop
lost:
  ret i1 false
done:
  ret i1 true
}

; A new tuple, or the one empty tuple.
define internal ptr @tuple_of(i64 %count) {
  %empty = icmp eq i64 %count, 0
  br i1 %empty, label %shared, label %fresh
shared:
  call void @Py_IncRef(ptr @iskra_empty_tuple)
  ret ptr @iskra_empty_tuple
fresh:
  %tuple = call ptr @PyTuple_New(i64 %count)
  ret ptr %tuple
}

define internal void @set(ptr %object, i64 %offset, ptr %value) alwaysinline {
  call void @Py_IncRef(ptr %value)
  %at = getelementptr i8, ptr %object, i64 %offset
  store ptr %value, ptr %at
  ret void
}

; Where an answer's tensors are: in the tuple, or at the place that is given.
define internal ptr @tensors_of(ptr %answer, ptr %place) {
  store ptr %answer, ptr %place
  %type.at = getelementptr i8, ptr %answer, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %alone = icmp eq ptr %type, @iskra_tensor
  %items = getelementptr i8, ptr %answer, i64 {ITEMS}
  %found = select i1 %alone, ptr %place, ptr %items
  ret ptr %found
}

; Make a node the history of those results that have a bit in %hung, as the attribute %name says;
; false with an exception.
define internal i1 @connect(ptr %node, ptr %tensors, i64 %hung, ptr %name) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %left = lshr i64 %hung, %i
  %more = icmp ne i64 %left, 0
  br i1 %more, label %one, label %done
one:
  %own = and i64 %left, 1
  %wanted = icmp ne i64 %own, 0
  br i1 %wanted, label %make, label %next
make:
  %edge = call ptr @PyTuple_New(i64 2)
  %failed = icmp eq ptr %edge, null
  br i1 %failed, label %lost, label %fill
fill:
  %items = getelementptr i8, ptr %edge, i64 {ITEMS}
  call void @Py_IncRef(ptr %node)
  store ptr %node, ptr %items
  %number = call ptr @PyLong_FromLong(i64 %i)
  %number.at = getelementptr ptr, ptr %items, i64 1
  store ptr %number, ptr %number.at
  %tensor.at = getelementptr ptr, ptr %tensors, i64 %i
  %tensor = load ptr, ptr %tensor.at
  %first = call i32 @PyObject_SetAttr(ptr %tensor, ptr @iskra_requires_grad, ptr @iskra_true)
  %second = call i32 @PyObject_SetAttr(ptr %tensor, ptr %name, ptr %edge)
  call void @Py_DecRef(ptr %edge)
  %both = or i32 %first, %second
  %good = icmp eq i32 %both, 0
  br i1 %good, label %next, label %lost
next:
  %i.next = add i64 %i, 1
  br label %loop
lost:
  ret i1 false
done:
  ret i1 true
}

; Hang a new node on the results, or (if it is not null) on the target that is to be overwritten
; with one; 0, or -1 with an exception.
define internal i32 @hang(ptr %recording, ptr %args, ptr %answer, ptr %results, ptr %edges,
                          ptr %target, ptr %name) {
  %tensor.var = alloca ptr
  %is.made = icmp eq ptr %target, null
  %holder = select i1 %is.made, ptr %answer, ptr %target
  %tensors = call ptr @tensors_of(ptr %holder, ptr %tensor.var)
  %result = load ptr, ptr %tensors
  %class.at = getelementptr ptr, ptr %recording, i64 2
  %class = load ptr, ptr %class.at
  %plan.at = getelementptr ptr, ptr %recording, i64 3
  %plan = load ptr, ptr %plan.at
  %edge.count.at = getelementptr i64, ptr %recording, i64 4
  %edge.count = load i64, ptr %edge.count.at
  %saved.count.at = getelementptr i64, ptr %recording, i64 5
  %saved.count = load i64, ptr %saved.count.at
  %check.count.at = getelementptr i64, ptr %recording, i64 6
  %check.count = load i64, ptr %check.count.at
  %shape.at = getelementptr ptr, ptr %recording, i64 7
  %shape = load ptr, ptr %shape.at
  %dtype.at = getelementptr ptr, ptr %recording, i64 8
  %dtype = load ptr, ptr %dtype.at
  %hung.at = getelementptr i64, ptr %recording, i64 9
  %hung = load i64, ptr %hung.at
  %positions = getelementptr i64, ptr %recording, i64 10
  %codes = getelementptr i64, ptr %positions, i64 %edge.count
  %node = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %no.node = icmp eq ptr %node, null
  br i1 %no.node, label %lost, label %fill
fill:
  ; What is put into the node belongs to it: an error lets go of all with it.
  %inputs = call ptr @tuple_of_edges(ptr %positions, i64 %edge.count, ptr %edges)
  %inputs.at = getelementptr i8, ptr %node, i64 {INPUT_EDGES}
  store ptr %inputs, ptr %inputs.at
  %saved = call ptr @tuple_of(i64 %saved.count)
  %saved.at = getelementptr i8, ptr %node, i64 {SAVED}
  store ptr %saved, ptr %saved.at
  %checks = call ptr @tuple_of(i64 %check.count)
  %checks.at = getelementptr i8, ptr %node, i64 {CHECKS}
  store ptr %checks, ptr %checks.at
  %sequence = call ptr @PyIter_Next(ptr @iskra_sequence)
  %sequence.at = getelementptr i8, ptr %node, i64 {SEQUENCE}
  store ptr %sequence, ptr %sequence.at
  %no.inputs = icmp eq ptr %inputs, null
  %no.saved = icmp eq ptr %saved, null
  %no.checks = icmp eq ptr %checks, null
  %no.sequence = icmp eq ptr %sequence, null
  %bad.1 = or i1 %no.inputs, %no.saved
  %bad.2 = or i1 %no.checks, %no.sequence
  %bad = or i1 %bad.1, %bad.2
  br i1 %bad, label %undo, label %describe
describe:
  call void @set(ptr %node, i64 {PLAN}, ptr %plan)
  call void @set(ptr %node, i64 {EXTRAS}, ptr @iskra_none)
  call void @set(ptr %node, i64 {OUTPUT_SHAPE}, ptr %shape)
  call void @set(ptr %node, i64 {OUTPUT_DTYPE}, ptr %dtype)
  %kept = call i1 @save(ptr %codes, i64 %saved.count, ptr %args, ptr %answer, ptr %result,
      ptr %saved, ptr %checks, ptr %results, ptr %edges, ptr %target)
  br i1 %kept, label %connect, label %undo
connect:
  %connected = call i1 @connect(ptr %node, ptr %tensors, i64 %hung, ptr %name)
  br i1 %connected, label %good, label %undo
good:
  call void @Py_DecRef(ptr %node)
  ret i32 0
undo:
  call void @Py_DecRef(ptr %node)
  br label %lost
lost:
  ret i32 -1
}

; Record a call; its results get their edges as the attribute %name. 0: done, or nothing to do; 1:
; left to Python; -1: an exception.
define internal i32 @record(ptr %entry, ptr %args, i64 %count, i64 %targets, ptr %answer,
                            ptr %name) {
  %edges = alloca [{MOST_RECORDED} x ptr]
  %mask = call i64 @gather(ptr %args, i64 %count, i64 %targets, ptr %edges)
  switch i64 %mask, label %look [
    i64 0, label %nothing
    i64 -1, label %failed
  ]
look:
  %watching.at = getelementptr i8, ptr @iskra_active, i64 {WATCHING}
  %watching = load ptr, ptr %watching.at
  %unwatched = icmp eq ptr %watching, @iskra_zero
  %recording = call ptr @find_recording(ptr %entry, i64 %mask)
  %known = icmp ne ptr %recording, null
  %able = and i1 %unwatched, %known
  br i1 %able, label %do, label %leave
do:
  %length.at = getelementptr i64, ptr %entry, i64 1
  %length = load i64, ptr %length.at
  %key = getelementptr i64, ptr %entry, i64 {HEADER}
  %results = getelementptr i64, ptr %key, i64 %length
  %outcome = call i32 @hang(ptr %recording, ptr %args, ptr %answer, ptr %results, ptr %edges,
      ptr null, ptr %name)
  call void @drop_edges(ptr %edges, i64 %mask)
  ret i32 %outcome
leave:
  call void @drop_edges(ptr %edges, i64 %mask)
  ret i32 1
nothing:
  ret i32 0
failed:
  ret i32 -1
}
"""
