"""The part of `quick_ir` that makes views: tensors on parts of another one's memory.

    ptr view(ptr self, ptr args, i64 count, ptr names)

is a known call of a view operator on its first argument, as `quick` is of others. A word in `self`
after those of `quick` tells what the results are: 0 a view, 1 a tensor outside any graph, 2 a tuple
of several views. A step of an entry makes a view: its slots are how far the view begins behind the
operand (in bytes), whether its elements are floats, sizes and strides.
"""

VIEWING = """
@iskra_perhaps = external global i8
@iskra_no_grad = external global i8
@iskra_multiple = external global i8
@iskra_view_edge = external global i8
@iskra_view_kind = external global i8
@iskra_view_version = external global i8

declare ptr @iskra_new_array(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare i32 @iskra_set_base(ptr, ptr)

; An array on the memory of another one as a step has it; null with an exception.
define internal ptr @part_of(ptr %array, ptr %step, ptr %descr) {
  %dims = alloca [{MOST_RANK} x i64]
  %strides = alloca [{MOST_RANK} x i64]
  %count.at = getelementptr i64, ptr %step, i64 2
  %count = load i64, ptr %count.at
  %both = sub i64 %count, 2
  %rank = lshr i64 %both, 1
  %slots = getelementptr i64, ptr %step, i64 4
  %offset = load i64, ptr %slots
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %make
one:
  %number = add i64 %i, 2
  %word = shl i64 %number, 1
  %dim.at = getelementptr i64, ptr %slots, i64 %word
  %dim = load i64, ptr %dim.at
  %dim.to = getelementptr i64, ptr %dims, i64 %i
  store i64 %dim, ptr %dim.to
  %later = add i64 %number, %rank
  %later.word = shl i64 %later, 1
  %stride.at = getelementptr i64, ptr %slots, i64 %later.word
  %stride = load i64, ptr %stride.at
  %stride.to = getelementptr i64, ptr %strides, i64 %i
  store i64 %stride, ptr %stride.to
  %i.next = add i64 %i, 1
  br label %loop
make:
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %data.at
  %start = getelementptr i8, ptr %data, i64 %offset
  %flags.at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %kept = and i32 %flags, 1280       ; aligned, writeable
  %rank.short = trunc i64 %rank to i32
  call void @Py_IncRef(ptr %descr)
  %part = call ptr @iskra_new_array(ptr @iskra_ndarray, ptr %descr, i32 %rank.short, ptr %dims,
      ptr %strides, ptr %start, i32 %kept, ptr null)
  %failed = icmp eq ptr %part, null
  br i1 %failed, label %lost, label %own
own:
  call void @Py_IncRef(ptr %array)
  %outcome = call i32 @iskra_set_base(ptr %part, ptr %array)
  %good = icmp eq i32 %outcome, 0
  br i1 %good, label %out, label %drop
out:
  ret ptr %part
drop:
  call void @Py_DecRef(ptr %part)
  br label %lost
lost:
  ret ptr null
}

; One view of a source; null with an exception. %base is null for what is outside any graph, %kind
; for views that may be written to.
define internal ptr @view_of(ptr %source, ptr %step, ptr %result, ptr %storage, ptr %base,
                             ptr %kind) {
  %array.at = getelementptr i8, ptr %source, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  %descr.at = getelementptr ptr, ptr %result, i64 1
  %descr = load ptr, ptr %descr.at
  %dtype.at = getelementptr ptr, ptr %result, i64 2
  %dtype = load ptr, ptr %dtype.at
  %part = call ptr @part_of(ptr %array, ptr %step, ptr %descr)
  %no.part = icmp eq ptr %part, null
  br i1 %no.part, label %lost, label %wrap
wrap:
  %view = call ptr @wrap(ptr %part, ptr %dtype)
  %no.view = icmp eq ptr %view, null
  br i1 %no.view, label %release, label %settle
release:
  call void @Py_DecRef(ptr %part)
  br label %lost
settle:
  %first = call i32 @PyObject_SetAttr(ptr %view, ptr @iskra_storage_name, ptr %storage)
  %outside = icmp eq ptr %base, null
  br i1 %outside, label %done, label %inside
inside:
  %version.at = getelementptr i8, ptr %storage, i64 {VERSION}
  %version = load ptr, ptr %version.at
  %second = call i32 @PyObject_SetAttr(ptr %view, ptr @iskra_base, ptr %base)
  %third = call i32 @PyObject_SetAttr(ptr %view, ptr @iskra_view_version, ptr %version)
  %some = or i32 %second, %third
  %floats.at = getelementptr i64, ptr %step, i64 6
  %floats = load i64, ptr %floats.at
  %has.gradient = icmp ne i64 %floats, 0
  br i1 %has.gradient, label %join, label %mark
join:
  %fourth = call i32 @PyObject_SetAttr(ptr %view, ptr @iskra_requires_grad, ptr @iskra_perhaps)
  br label %mark
mark:
  %joined = phi i32 [ 0, %inside ], [ %fourth, %join ]
  %several = icmp eq ptr %kind, @iskra_multiple
  %counts = or i1 %several, %has.gradient
  %free = icmp eq ptr %kind, null
  %unmarked = xor i1 %counts, true
  %no.kind = or i1 %free, %unmarked
  br i1 %no.kind, label %sum, label %tell
tell:
  %fifth = call i32 @PyObject_SetAttr(ptr %view, ptr @iskra_view_kind, ptr %kind)
  br label %sum
sum:
  %told = phi i32 [ 0, %mark ], [ %fifth, %tell ]
  %most = or i32 %some, %joined
  %rest = or i32 %most, %told
  br label %done
done:
  %others = phi i32 [ 0, %settle ], [ %rest, %sum ]
  %all = or i32 %first, %others
  %good = icmp eq i32 %all, 0
  br i1 %good, label %out, label %drop
out:
  ret ptr %view
drop:
  call void @Py_DecRef(ptr %view)
  br label %lost
lost:
  ret ptr null
}

; An attribute that an object goes on holding; null with an exception.
define internal ptr @held(ptr %object, ptr %name) {
  %found = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  %failed = icmp eq ptr %found, null
  br i1 %failed, label %out, label %release
release:
  call void @Py_DecRef(ptr %found)
  br label %out
out:
  ret ptr %found
}

; What `iskra.dispatch.execute.as_view` calls the kind of a view: null for none. False with an
; exception. %base: of the source, or None.
define internal i1 @kind_of(ptr %source, ptr %base, i64 %mode, ptr %place) {
  store ptr null, ptr %place
  %several = icmp eq i64 %mode, 2
  br i1 %several, label %multiple, label %ask
multiple:
  store ptr @iskra_multiple, ptr %place
  ret i1 true
ask:
  %recording = call i32 @records()
  switch i32 %recording, label %look [
    i32 0, label %apart
    i32 -1, label %error
  ]
apart:
  store ptr @iskra_no_grad, ptr %place
  ret i1 true
look:
  %whole = icmp eq ptr %base, @iskra_none
  br i1 %whole, label %done, label %inherit
inherit:
  %kind = call ptr @held(ptr %source, ptr @iskra_view_kind)
  %failed = icmp eq ptr %kind, null
  br i1 %failed, label %error, label %tell
tell:
  %free = icmp eq ptr %kind, @iskra_none
  br i1 %free, label %done, label %put
put:
  store ptr %kind, ptr %place
  br label %done
done:
  ret i1 true
error:
  ret i1 false
}

; All views of an entry: one, or a tuple; null with an exception.
define internal ptr @views_of(ptr %entry, ptr %source, i64 %mode) {
  %kind.var = alloca ptr
  %views = alloca [{MOST_RESULTS} x ptr]
  %length.at = getelementptr i64, ptr %entry, i64 1
  %length = load i64, ptr %length.at
  %count.at = getelementptr i64, ptr %entry, i64 2
  %count = load i64, ptr %count.at
  %returned.at = getelementptr i64, ptr %entry, i64 4
  %returned = load i64, ptr %returned.at
  %key = getelementptr i64, ptr %entry, i64 {HEADER}
  %results = getelementptr i64, ptr %key, i64 %length
  %results.words = mul i64 %count, 3
  %numbers = getelementptr i64, ptr %results, i64 %results.words
  %steps = getelementptr i64, ptr %numbers, i64 %returned
  %fresh = call ptr @storage_of(ptr %source)
  %no.storage = icmp eq ptr %fresh, null
  br i1 %no.storage, label %lost, label %hold
hold:
  call void @Py_DecRef(ptr %fresh)       ; the source holds it
  %outside = icmp eq i64 %mode, 1
  br i1 %outside, label %begin, label %find
find:
  %held = call ptr @held(ptr %source, ptr @iskra_base)
  %no.base = icmp eq ptr %held, null
  br i1 %no.base, label %lost, label %choose
choose:
  %whole = icmp eq ptr %held, @iskra_none
  %chosen = select i1 %whole, ptr %source, ptr %held
  %told = call i1 @kind_of(ptr %source, ptr %held, i64 %mode, ptr %kind.var)
  br i1 %told, label %known, label %lost
known:
  %kind.found = load ptr, ptr %kind.var
  br label %begin
begin:
  %base = phi ptr [ null, %hold ], [ %chosen, %known ]
  %kind = phi ptr [ null, %hold ], [ %kind.found, %known ]
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %made ]
  %step = phi ptr [ %steps, %begin ], [ %step.next, %made ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %offset = mul i64 %i, 3
  %result = getelementptr i64, ptr %results, i64 %offset
  %view = call ptr @view_of(ptr %source, ptr %step, ptr %result, ptr %fresh, ptr %base, ptr %kind)
  %failed = icmp eq ptr %view, null
  br i1 %failed, label %undo, label %made
made:
  %view.at = getelementptr ptr, ptr %views, i64 %i
  store ptr %view, ptr %view.at
  %slots.at = getelementptr i64, ptr %step, i64 2
  %slots = load i64, ptr %slots.at
  %twice = shl i64 %slots, 1
  %words = add i64 %twice, 3
  %step.next = getelementptr i64, ptr %step, i64 %words
  %i.next = add i64 %i, 1
  br label %loop
undo:
  call void @drop(ptr %views, i64 %i)
  ret ptr null
done:
  %several = icmp eq i64 %mode, 2
  br i1 %several, label %tuple, label %single
single:
  %only = load ptr, ptr %views
  ret ptr %only
tuple:
  %answer = call ptr @PyTuple_New(i64 %count)
  %no.tuple = icmp eq ptr %answer, null
  br i1 %no.tuple, label %undo.all, label %fill
undo.all:
  call void @drop(ptr %views, i64 %count)
  ret ptr null
fill:
  %items = getelementptr i8, ptr %answer, i64 {ITEMS}
  %bytes = shl i64 %count, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %items, ptr %views, i64 %bytes, i1 false)
  ret ptr %answer
lost:
  ret ptr null
}

define ptr @view(ptr %self, ptr %args, i64 %count, ptr %names) {
  %call = alloca %call, align 16
  %undisturbed = call i1 @undisturbed()
  %named = call i64 @name_count(ptr %names)
  %unnamed = icmp eq i64 %named, 0
  %few = icmp sle i64 %count, {MOST_ARGUMENTS}
  %some = icmp sgt i64 %count, 0
  %right = and i1 %few, %some
  %usual = and i1 %right, %unnamed
  %fine = and i1 %undisturbed, %usual
  br i1 %fine, label %first, label %pass
first:
  %source = load ptr, ptr %args
  %type.at = getelementptr i8, ptr %source, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_plain(ptr %type)
  br i1 %is.tensor, label %look, label %pass
look:
  %entry = call ptr @lookup(ptr %self, ptr %call, ptr %args, i64 %count, ptr null, i64 0)
  %there = icmp ne ptr %entry, null
  br i1 %there, label %do, label %pass
do:
  %words = getelementptr i8, ptr %self, i64 {BYTES}
  %mode.at = getelementptr i64, ptr %words, i64 3
  %mode = load i64, ptr %mode.at, align 1
  %answer = call ptr @views_of(ptr %entry, ptr %source, i64 %mode)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %error, label %graph
graph:
  %outside = icmp eq i64 %mode, 1
  br i1 %outside, label %out, label %record
record:
  %targets.at = getelementptr i64, ptr %words, i64 2
  %targets = load i64, ptr %targets.at, align 1
  %recorded = call i32 @record(ptr %entry, ptr %args, i64 %count, i64 %targets, ptr %answer,
      ptr @iskra_view_edge)
  %given = call ptr @given_back(ptr %answer, i32 %recorded)
  ret ptr %given
error:
  ret ptr null
out:
  ret ptr %answer
pass:
  call void @Py_IncRef(ptr @iskra_none)
  ret ptr @iskra_none
}
"""
