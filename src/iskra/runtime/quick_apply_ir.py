"""The part of `quick_ir` that runs a node whose gradients are one call of an operator:

    ptr apply(ptr self, ptr args, i64 count, ptr names)

is ``apply(node, g)``, which gives a list with the gradient along each edge, or None where there is
more to it: something to record, a saved value that has been written to, a call that the operator's
table does not know. `self` begins as that of `quick`; then come the numbers of edges, arguments and
gradients; for each argument what it is, 0 for `g`, else one more than the place of a saved value;
for each gradient the edge.
"""

APPLYING = """
@iskra_list = external global i8

declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)

; Where a tuple or list keeps its items; null for anything else.
define internal ptr @items_of(ptr %sequence) {
  %type.at = getelementptr i8, ptr %sequence, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tuple = icmp eq ptr %type, @iskra_tuple
  br i1 %is.tuple, label %tuple, label %other
tuple:
  %inside = getelementptr i8, ptr %sequence, i64 {ITEMS}
  ret ptr %inside
other:
  %is.list = icmp eq ptr %type, @iskra_list
  br i1 %is.list, label %list, label %none
list:
  %items.at = getelementptr i8, ptr %sequence, i64 {LIST_ITEMS}
  %items = load ptr, ptr %items.at
  ret ptr %items
none:
  ret ptr null
}

; Whether a saved value's storage still has the version; 0 also for what has to be restored.
define internal i32 @is_unwritten(ptr %value, ptr %version) {
  %type.at = getelementptr i8, ptr %version, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.int = icmp eq ptr %type, @iskra_int
  br i1 %is.int, label %look, label %no
look:
  %storage = call ptr @PyObject_GetAttr(ptr %value, ptr @iskra_storage_name)
  %failed = icmp eq ptr %storage, null
  br i1 %failed, label %error, label %compare
compare:
  call void @Py_DecRef(ptr %storage)
  %is.none = icmp eq ptr %storage, @iskra_none
  br i1 %is.none, label %yes, label %closer
closer:
  %own.at = getelementptr i8, ptr %storage, i64 {VERSION}
  %own = load ptr, ptr %own.at
  %same = icmp eq ptr %own, %version
  br i1 %same, label %yes, label %by.value
by.value:
  %equal = call i32 @PyObject_RichCompareBool(ptr %own, ptr %version, i32 2)
  ret i32 %equal
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}

; Whether all checked values are as they were: 1, 0, or -1 with an exception.
define internal i32 @is_sound(ptr %node, ptr %values) {
  %checks.at = getelementptr i8, ptr %node, i64 {CHECKS}
  %checks = load ptr, ptr %checks.at
  %items = call ptr @items_of(ptr %checks)
  %unknown = icmp eq ptr %items, null
  br i1 %unknown, label %no, label %begin
begin:
  %size.at = getelementptr i8, ptr %checks, i64 {SIZE}
  %size = load i64, ptr %size.at
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %yes
one:
  %pair.at = getelementptr ptr, ptr %items, i64 %i
  %pair = load ptr, ptr %pair.at
  %pair.items = getelementptr i8, ptr %pair, i64 {ITEMS}
  %place.object = load ptr, ptr %pair.items
  %place = call i64 @PyLong_AsLongLong(ptr %place.object)
  %version.at = getelementptr ptr, ptr %pair.items, i64 1
  %version = load ptr, ptr %version.at
  %value.at = getelementptr ptr, ptr %values, i64 %place
  %value = load ptr, ptr %value.at
  %answer = call i32 @is_unwritten(ptr %value, ptr %version)
  %good = icmp eq i32 %answer, 1
  br i1 %good, label %next, label %out
next:
  %i.next = add i64 %i, 1
  br label %loop
out:
  ret i32 %answer
no:
  ret i32 0
yes:
  ret i32 1
}

define internal void @pick(ptr %places, i64 %count, ptr %g, ptr %values, ptr %args) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %put ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %place.at = getelementptr i64, ptr %places, i64 %i
  %place = load i64, ptr %place.at, align 1
  %is.g = icmp eq i64 %place, 0
  br i1 %is.g, label %put, label %saved
saved:
  %before = sub i64 %place, 1
  %value.at = getelementptr ptr, ptr %values, i64 %before
  %value = load ptr, ptr %value.at
  br label %put
put:
  %arg = phi ptr [ %g, %one ], [ %value, %saved ]
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  store ptr %arg, ptr %arg.at
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}

; Put gradients, one or a tuple of them, where their edges are; takes over the reference.
define internal ptr @spread(ptr %found, i64 %edges, ptr %places, i64 %count) {
  %list = call ptr @PyList_New(i64 %edges)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %lost, label %fill
fill:
  %items.at = getelementptr i8, ptr %list, i64 {LIST_ITEMS}
  %items = load ptr, ptr %items.at
  br label %blank
blank:
  %b = phi i64 [ 0, %fill ], [ %b.next, %blank.one ]
  %unfilled = icmp slt i64 %b, %edges
  br i1 %unfilled, label %blank.one, label %begin
blank.one:
  call void @Py_IncRef(ptr @iskra_none)
  %blank.at = getelementptr ptr, ptr %items, i64 %b
  store ptr @iskra_none, ptr %blank.at
  %b.next = add i64 %b, 1
  br label %blank
begin:
  %found.items = call ptr @items_of(ptr %found)
  %single = icmp eq ptr %found.items, null
  br i1 %single, label %alone, label %loop
alone:
  %place.alone = load i64, ptr %places, align 1
  %alone.at = getelementptr ptr, ptr %items, i64 %place.alone
  call void @Py_DecRef(ptr @iskra_none)
  store ptr %found, ptr %alone.at
  ret ptr %list
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr ptr, ptr %found.items, i64 %i
  %item = load ptr, ptr %item.at
  call void @Py_IncRef(ptr %item)
  %place.at = getelementptr i64, ptr %places, i64 %i
  %place = load i64, ptr %place.at, align 1
  %to = getelementptr ptr, ptr %items, i64 %place
  %old = load ptr, ptr %to
  call void @Py_DecRef(ptr %old)
  store ptr %item, ptr %to
  %i.next = add i64 %i, 1
  br label %loop
done:
  call void @Py_DecRef(ptr %found)
  ret ptr %list
lost:
  call void @Py_DecRef(ptr %found)
  ret ptr null
}

define ptr @apply(ptr %self, ptr %given, i64 %given.count, ptr %names) {
  %call = alloca %call, align 16
  %args = alloca [{MOST_ARGUMENTS} x ptr], align 16
  %right = icmp eq i64 %given.count, 2
  br i1 %right, label %begin, label %pass
begin:
  %undisturbed = call i1 @undisturbed()
  br i1 %undisturbed, label %ask, label %pass
ask:
  %recording = call i32 @records()
  switch i32 %recording, label %pass [
    i32 0, label %look
    i32 -1, label %error
  ]
look:
  %node = load ptr, ptr %given
  %g.at = getelementptr ptr, ptr %given, i64 1
  %g = load ptr, ptr %g.at
  %saved.at = getelementptr i8, ptr %node, i64 {SAVED}
  %saved = load ptr, ptr %saved.at
  %values = call ptr @items_of(ptr %saved)
  %freed = icmp eq ptr %values, null
  br i1 %freed, label %pass, label %check
check:
  %sound = call i32 @is_sound(ptr %node, ptr %values)
  switch i32 %sound, label %pass [
    i32 1, label %go
    i32 -1, label %error
  ]
go:
  %words = getelementptr i8, ptr %self, i64 {BYTES}
  %edges.at = getelementptr i64, ptr %words, i64 3
  %edges = load i64, ptr %edges.at, align 1
  %count.at = getelementptr i64, ptr %words, i64 4
  %count = load i64, ptr %count.at, align 1
  %gradients.at = getelementptr i64, ptr %words, i64 5
  %gradients = load i64, ptr %gradients.at, align 1
  %picks = getelementptr i64, ptr %words, i64 6
  %places = getelementptr i64, ptr %picks, i64 %count
  call void @pick(ptr %picks, i64 %count, ptr %g, ptr %values, ptr %args)
  %entry = call ptr @lookup(ptr %self, ptr %call, ptr %args, i64 %count, ptr null, i64 0)
  %there = icmp ne ptr %entry, null
  br i1 %there, label %do, label %pass
do:
  %found = call ptr @carry_out(ptr %entry, ptr %call, ptr null)
  %done = icmp ne ptr %found, null
  br i1 %done, label %deliver, label %failed
deliver:
  %list = call ptr @spread(ptr %found, i64 %edges, ptr %places, i64 %gradients)
  ret ptr %list
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
