"""The part of `quick_ir` that saves results, and records writes in place as
`iskra.dispatch.variants` does.

The result is made apart. The node hangs on the target, which is overwritten last; formulas that
name the target get a copy of it as it was (an `original`), and those that name the result the
target as it will be. Views, whose bases take part in their history, are left to Python.
"""

HISTORY = """
@iskra_base = external global i8
@iskra_accumulate = external global i8

; What is saved of a tensor: its array without its node. Takes over the storage, null where there is
; none; null with an exception.
define internal ptr @saved_of(ptr %tensor, ptr %storage) {
  %failed = icmp eq ptr %storage, null
  br i1 %failed, label %lost, label %make
make:
  %saved = call ptr @PyType_GenericAlloc(ptr @iskra_saved, i64 0)
  %unmade = icmp eq ptr %saved, null
  br i1 %unmade, label %release, label %save
release:
  call void @Py_DecRef(ptr %storage)
  br label %lost
save:
  %array.at = getelementptr i8, ptr %tensor, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  call void @set(ptr %saved, i64 {ARRAY}, ptr %array)
  %dtype.at = getelementptr i8, ptr %tensor, i64 {DTYPE}
  %dtype = load ptr, ptr %dtype.at
  call void @set(ptr %saved, i64 {DTYPE}, ptr %dtype)
  %saved.storage = getelementptr i8, ptr %saved, i64 {SAVED_STORAGE}
  store ptr %storage, ptr %saved.storage
  call void @set(ptr %saved, i64 {SAVED_NUMBER}, ptr @iskra_zero)
  ret ptr %saved
lost:
  ret ptr null
}

; A result as it is saved. It gets a storage, whose version counts.
define internal ptr @saved_result(ptr %result) {
  %storage = call ptr @PyType_GenericAlloc(ptr @iskra_storage, i64 0)
  %failed = icmp eq ptr %storage, null
  br i1 %failed, label %lost, label %fill
fill:
  %array.at = getelementptr i8, ptr %result, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  call void @set(ptr %storage, i64 {SOURCE}, ptr %array)
  call void @set(ptr %storage, i64 {FLAT}, ptr @iskra_none)
  call void @set(ptr %storage, i64 {VERSION}, ptr @iskra_zero)
  %outcome = call i32 @PyObject_SetAttr(ptr %result, ptr @iskra_storage_name, ptr %storage)
  %held = icmp eq i32 %outcome, 0
  br i1 %held, label %save, label %release
save:
  %saved = call ptr @saved_of(ptr %result, ptr %storage)
  ret ptr %saved
release:
  call void @Py_DecRef(ptr %storage)
  br label %lost
lost:
  ret ptr null
}

; A target as it is saved where a formula names the result: with the version that it will have.
define internal ptr @saved_target(ptr %target) {
  %storage = call ptr @storage_of(ptr %target)
  %saved = call ptr @saved_of(ptr %target, ptr %storage)
  ret ptr %saved
}

; A tensor with what the target holds now, and its edge if it has one.
define internal ptr @original(ptr %target, ptr %edge, ptr %results) {
  %copy = call ptr @iskra_empty(ptr null, ptr %results, i64 2)
  %failed = icmp eq ptr %copy, null
  br i1 %failed, label %lost, label %fill
fill:
  %array.at = getelementptr i8, ptr %target, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  %bytes = call i64 @bytes_of(ptr %copy)
  call void @copy_bytes(ptr %array, ptr %copy, i64 %bytes)
  %dtype.at = getelementptr i8, ptr %target, i64 {DTYPE}
  %dtype = load ptr, ptr %dtype.at
  %tensor = call ptr @wrap(ptr %copy, ptr %dtype)
  %unmade = icmp eq ptr %tensor, null
  br i1 %unmade, label %release, label %ask
release:
  call void @Py_DecRef(ptr %copy)
  br label %lost
ask:
  %free = icmp eq ptr %edge, null
  br i1 %free, label %out, label %connect
connect:
  %first = call i32 @PyObject_SetAttr(ptr %tensor, ptr @iskra_requires_grad, ptr @iskra_true)
  %second = call i32 @PyObject_SetAttr(ptr %tensor, ptr @iskra_edge, ptr %edge)
  %both = or i32 %first, %second
  %good = icmp eq i32 %both, 0
  br i1 %good, label %out, label %drop
drop:
  call void @Py_DecRef(ptr %tensor)
  br label %lost
out:
  ret ptr %tensor
lost:
  ret ptr null
}

; What `bump` makes of a tensor's version, or null with an exception.
define internal ptr @next_version(ptr %tensor) {
  %version = call ptr @version_of(ptr %tensor)
  %failed = icmp eq ptr %version, null
  br i1 %failed, label %error, label %count
count:
  %number = call i64 @PyLong_AsLongLong(ptr %version)
  call void @Py_DecRef(ptr %version)
  %next = add i64 %number, 1
  %object = call ptr @PyLong_FromLongLong(i64 %next)
  ret ptr %object
error:
  ret ptr null
}

; Whether a write to a tensor may be recorded: not if it is a view, or a leaf that requires a
; gradient. 1, 0, or -1 with an exception.
define internal i32 @has_history(ptr %tensor) {
  %whole = call i32 @has(ptr %tensor, ptr @iskra_base, ptr @iskra_none)
  %is.whole = icmp eq i32 %whole, 1
  br i1 %is.whole, label %ask, label %out
ask:
  %free = call i32 @has(ptr %tensor, ptr @iskra_requires_grad, ptr @iskra_false)
  %is.open = icmp eq i32 %free, 0
  br i1 %is.open, label %look, label %out
look:
  %edge = call ptr @PyObject_GetAttr(ptr %tensor, ptr @iskra_edge)
  %failed = icmp eq ptr %edge, null
  br i1 %failed, label %error, label %inside
inside:
  call void @Py_DecRef(ptr %edge)
  %is.none = icmp eq ptr %edge, @iskra_none
  br i1 %is.none, label %no, label %node
node:
  %items = getelementptr i8, ptr %edge, i64 {ITEMS}
  %first = load ptr, ptr %items
  %type.at = getelementptr i8, ptr %first, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %leaf = icmp eq ptr %type, @iskra_accumulate
  br i1 %leaf, label %no, label %yes
out:
  %answer = phi i32 [ %whole, %0 ], [ %free, %ask ]
  ret i32 %answer
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}

; The recording of a write, whose edges it gathers; null: with an exception or without.
define internal ptr @recording_of_write(ptr %entry, ptr %args, i64 %count, i64 %targets,
                                        ptr %edges, ptr %mask.place) {
  %target = load ptr, ptr %args
  %has = call i32 @has_history(ptr %target)
  %allowed = icmp eq i32 %has, 1
  br i1 %allowed, label %look, label %no
look:
  %mask = call i64 @gather(ptr %args, i64 %count, i64 %targets, ptr %edges)
  store i64 %mask, ptr %mask.place
  %some = icmp sgt i64 %mask, 0
  br i1 %some, label %find, label %no
find:
  %own.mask = or i64 %mask, {WRITTEN}
  %watching.at = getelementptr i8, ptr @iskra_active, i64 {WATCHING}
  %watching = load ptr, ptr %watching.at
  %unwatched = icmp eq ptr %watching, @iskra_zero
  %recording = call ptr @find_recording(ptr %entry, i64 %own.mask)
  %known = icmp ne ptr %recording, null
  %able = and i1 %unwatched, %known
  br i1 %able, label %yes, label %leave
leave:
  call void @drop_edges(ptr %edges, i64 %mask)
  br label %no
yes:
  ret ptr %recording
no:
  ret ptr null
}
"""
