"""The part of `quick_ir` that describes the arguments of a call and finds the entry for them."""

READING = """
; Whether nobody wants to see or change calls.
define internal i1 @undisturbed() alwaysinline {
  %watcher = load ptr, ptr @iskra_watcher
  %unwatched = icmp eq ptr %watcher, null
  %size.at = getelementptr i8, ptr @iskra_observers, i64 {SIZE}
  %observers = load i64, ptr %size.at
  %unobserved = icmp eq i64 %observers, 0
  %intercepting.at = getelementptr i8, ptr @iskra_active, i64 {INTERCEPTING}
  %intercepting = load ptr, ptr %intercepting.at
  %uncaught = icmp eq ptr %intercepting, @iskra_zero
  %quiet = and i1 %unwatched, %unobserved
  %answer = and i1 %quiet, %uncaught
  ret i1 %answer
}

; Whether it is a class of tensors that nobody can bend.
define internal i1 @is_plain(ptr %type) alwaysinline {
  %first = icmp eq ptr %type, @iskra_tensor
  %second = icmp eq ptr %type, @iskra_parameter
  %either = or i1 %first, %second
  ret i1 %either
}

; The same, or that of results as they are saved.
define internal i1 @is_tensor(ptr %type) alwaysinline {
  %plain = call i1 @is_plain(ptr %type)
  %saved = icmp eq ptr %type, @iskra_saved
  %any = or i1 %plain, %saved
  ret i1 %any
}

; A tensor's part of the key; the length of the key, or -1 for an array of another kind.
define internal i64 @describe(ptr %tensor, ptr %key, i64 %length, ptr %data.place) {
  %array.at = getelementptr i8, ptr %tensor, i64 {ARRAY}
  %array = load ptr, ptr %array.at
  %missing = icmp eq ptr %array, null
  br i1 %missing, label %odd, label %look
look:
  %type.at = getelementptr i8, ptr %array, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %plain = icmp eq ptr %type, @iskra_ndarray
  br i1 %plain, label %inside, label %odd
inside:
  %flags.at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %flags.at
  %aligned = and i32 %flags, 256
  %is.aligned = icmp ne i32 %aligned, 0
  %rank.at = getelementptr i8, ptr %array, i64 {RANK}
  %rank.short = load i32, ptr %rank.at
  %rank = sext i32 %rank.short to i64
  %few = icmp sle i64 %rank, {MOST_RANK}
  %usable = and i1 %is.aligned, %few
  br i1 %usable, label %read, label %odd
read:
  %data.at = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %data.at
  store ptr %data, ptr %data.place
  %descr.at = getelementptr i8, ptr %array, i64 {DESCR}
  %descr = load i64, ptr %descr.at
  %at = getelementptr i64, ptr %key, i64 %length
  store i64 %descr, ptr %at
  %at.1 = getelementptr i64, ptr %at, i64 1
  store i64 %rank, ptr %at.1
  %sizes = getelementptr i64, ptr %at, i64 2
  %strides = getelementptr i64, ptr %sizes, i64 %rank
  %dims.at = getelementptr i8, ptr %array, i64 {DIMS}
  %dims = load ptr, ptr %dims.at
  %steps.at = getelementptr i8, ptr %array, i64 {STRIDES}
  %steps = load ptr, ptr %steps.at
  br label %loop
loop:
  %i = phi i64 [ 0, %read ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %done
one:
  %dim.at = getelementptr i64, ptr %dims, i64 %i
  %dim = load i64, ptr %dim.at
  %size.to = getelementptr i64, ptr %sizes, i64 %i
  store i64 %dim, ptr %size.to
  %step.at = getelementptr i64, ptr %steps, i64 %i
  %step = load i64, ptr %step.at
  %stride.to = getelementptr i64, ptr %strides, i64 %i
  store i64 %step, ptr %stride.to
  %i.next = add i64 %i, 1
  br label %loop
done:
  %twice = shl i64 %rank, 1
  %own = add i64 %twice, 2
  %total = add i64 %length, %own
  ret i64 %total
odd:
  ret i64 -1
}

; The value of a Python int in both forms; false where a double does not hold it exactly.
define internal i1 @integer(ptr %number, ptr %double.place, ptr %integer.place) {
  %value = call i64 @PyLong_AsLongLong(ptr %number)
  store i64 %value, ptr %integer.place
  %double = sitofp i64 %value to double
  store double %double, ptr %double.place
  %moved = add i64 %value, 4503599627370496
  %exact = icmp ult i64 %moved, 9007199254740992
  %odd = icmp eq i64 %value, -1
  br i1 %odd, label %check, label %done
check:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %done, label %failed
failed:
  call void @PyErr_Clear()
  ret i1 false
done:
  ret i1 %exact
}

; A word for the start, stop and step of a slice, 21 bits for each; false if one is no small int.
define internal i1 @slice_word(ptr %bounds, ptr %to) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %put ]
  %word = phi i64 [ 0, %0 ], [ %word.next, %put ]
  %more = icmp slt i64 %i, 3
  br i1 %more, label %one, label %done
one:
  %bound.at = getelementptr ptr, ptr %bounds, i64 %i
  %bound = load ptr, ptr %bound.at
  %is.none = icmp eq ptr %bound, @iskra_none
  br i1 %is.none, label %put, label %look
look:
  %type.at = getelementptr i8, ptr %bound, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.int = icmp eq ptr %type, @iskra_int
  br i1 %is.int, label %read, label %no
read:
  %value = call i64 @PyLong_AsLongLong(ptr %bound)
  %moved = add i64 %value, 1048576
  %low = icmp sgt i64 %moved, 0
  %high = icmp slt i64 %moved, 2097152
  %fits = and i1 %low, %high
  br i1 %fits, label %check, label %no
check:
  %odd = icmp eq i64 %value, -1
  br i1 %odd, label %perhaps.large, label %put
perhaps.large:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %put, label %large
put:
  %bits = phi i64 [ 0, %one ], [ %moved, %check ], [ %moved, %perhaps.large ]
  %shifted = shl i64 %word, 21
  %word.next = or i64 %shifted, %bits
  %i.next = add i64 %i, 1
  br label %loop
large:
  call void @PyErr_Clear()
  br label %no
no:
  ret i1 false
done:
  store i64 %word, ptr %to
  ret i1 true
}

; Two words for a setting that is no tuple: its kind, and its value or address. False for an int
; that is too large.
define internal i1 @plain_setting(ptr %value, ptr %at) {
  %type.at = getelementptr i8, ptr %value, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %second = getelementptr i64, ptr %at, i64 1
  %is.int = icmp eq ptr %type, @iskra_int
  br i1 %is.int, label %int, label %other
int:
  store i64 {INT_SETTING}, ptr %at
  %number = call i64 @PyLong_AsLongLong(ptr %value)
  store i64 %number, ptr %second
  %odd = icmp eq i64 %number, -1
  br i1 %odd, label %check, label %yes
check:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %yes, label %large
large:
  call void @PyErr_Clear()
  ret i1 false
other:
  %is.float = icmp eq ptr %type, @iskra_float
  br i1 %is.float, label %float, label %object
float:
  store i64 {FLOAT_SETTING}, ptr %at
  %bits.at = getelementptr i8, ptr %value, i64 {FLOAT_VALUE}
  %bits = load i64, ptr %bits.at
  store i64 %bits, ptr %second
  br label %yes
object:
  %is.slice = icmp eq ptr %type, @iskra_slice
  br i1 %is.slice, label %slice, label %itself
slice:
  store i64 {SLICE}, ptr %at
  %bounds = getelementptr i8, ptr %value, i64 {SLICE_START}
  %fits = call i1 @slice_word(ptr %bounds, ptr %second)
  ret i1 %fits
itself:
  store i64 {OBJECT_SETTING}, ptr %at
  %address = ptrtoint ptr %value to i64
  store i64 %address, ptr %second
  br label %yes
yes:
  ret i1 true
}

; A setting's part of the key; the length of the key, or -1.
define internal i64 @setting(ptr %value, ptr %key, i64 %length) {
  %at = getelementptr i64, ptr %key, i64 %length
  %type.at = getelementptr i8, ptr %value, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tuple = icmp eq ptr %type, @iskra_tuple
  %is.size = icmp eq ptr %type, @iskra_size
  %several = or i1 %is.tuple, %is.size
  br i1 %several, label %tuple, label %single
single:
  %told = call i1 @plain_setting(ptr %value, ptr %at)
  %length.2 = add i64 %length, 2
  br i1 %told, label %single.done, label %odd
single.done:
  ret i64 %length.2
tuple:
  %size.at = getelementptr i8, ptr %value, i64 {SIZE}
  %size = load i64, ptr %size.at
  %few = icmp sle i64 %size, {MOST_ITEMS}
  br i1 %few, label %begin, label %odd
begin:
  store i64 {TUPLE_SETTING}, ptr %at
  %at.1 = getelementptr i64, ptr %at, i64 1
  store i64 %size, ptr %at.1
  %to = getelementptr i64, ptr %at, i64 2
  %items = getelementptr i8, ptr %value, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %twice = shl i64 %i, 1
  %item.to = getelementptr i64, ptr %to, i64 %twice
  %good = call i1 @plain_setting(ptr %item, ptr %item.to)
  br i1 %good, label %next, label %odd
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  %words = shl i64 %size, 1
  %own = add i64 %words, 2
  %total = add i64 %length, %own
  ret i64 %total
odd:
  ret i64 -1
}

; The key of the arguments; false where they are none that an entry could be for.
define internal i1 @read(ptr %call, ptr %args, i64 %count, i64 %numbers) {
  %length.var = alloca i64
  %operands.var = alloca i64
  %scalars.var = alloca i64
  store i64 0, ptr %length.var
  store i64 0, ptr %operands.var
  store i64 0, ptr %scalars.var
  %listed.at = getelementptr %call, ptr %call, i64 0, i32 5
  store i64 0, ptr %listed.at
  %data = getelementptr %call, ptr %call, i64 0, i32 1
  %doubles = getelementptr %call, ptr %call, i64 0, i32 2
  %integers = getelementptr %call, ptr %call, i64 0, i32 3
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %length = load i64, ptr %length.var
  %room = icmp sle i64 %length, {ROOM}
  br i1 %room, label %take, label %odd
take:
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
  %type.at = getelementptr i8, ptr %arg, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_tensor(ptr %type)
  br i1 %is.tensor, label %tensor, label %other
tensor:
  %operand = load i64, ptr %operands.var
  %operand.next = add i64 %operand, 1
  store i64 %operand.next, ptr %operands.var
  %data.place = getelementptr ptr, ptr %data, i64 %operand
  %held = icmp slt i64 %operand, {MOST_ARGUMENTS}     ; lists may hold many
  br i1 %held, label %tensor.describe, label %odd
tensor.describe:
  %length.tensor = call i64 @describe(ptr %arg, ptr %call, i64 %length, ptr %data.place)
  store i64 %length.tensor, ptr %length.var
  %described = icmp sge i64 %length.tensor, 0
  br i1 %described, label %next, label %odd
other:
  %bit = lshr i64 %numbers, %i
  %bit.low = and i64 %bit, 1
  %may.be.number = icmp ne i64 %bit.low, 0
  %at = getelementptr i64, ptr %call, i64 %length
  %length.1 = add i64 %length, 1
  br i1 %may.be.number, label %number, label %setting
number:
  %scalar = load i64, ptr %scalars.var
  %scalar.next = add i64 %scalar, 1
  %double.place = getelementptr double, ptr %doubles, i64 %scalar
  %integer.place = getelementptr i64, ptr %integers, i64 %scalar
  %is.float = icmp eq ptr %type, @iskra_float
  br i1 %is.float, label %float, label %perhaps.int
float:
  %value.at = getelementptr i8, ptr %arg, i64 {FLOAT_VALUE}
  %value = load double, ptr %value.at
  store double %value, ptr %double.place
  store i64 0, ptr %integer.place
  store i64 {FLOAT}, ptr %at
  store i64 %length.1, ptr %length.var
  store i64 %scalar.next, ptr %scalars.var
  br label %next
perhaps.int:
  %is.int = icmp eq ptr %type, @iskra_int
  br i1 %is.int, label %int, label %setting
int:
  store i64 {INT}, ptr %at
  store i64 %length.1, ptr %length.var
  store i64 %scalar.next, ptr %scalars.var
  %exact = call i1 @integer(ptr %arg, ptr %double.place, ptr %integer.place)
  br i1 %exact, label %next, label %odd
setting:
  %several = call i1 @is_list(ptr %arg, ptr %type)
  br i1 %several, label %list, label %plain
list:
  %length.list = call i64 @describe_list(ptr %arg, ptr %call, i64 %length, ptr %operands.var)
  store i64 %length.list, ptr %length.var
  %listed = icmp sge i64 %length.list, 0
  br i1 %listed, label %next, label %odd
plain:
  %length.setting = call i64 @setting(ptr %arg, ptr %call, i64 %length)
  store i64 %length.setting, ptr %length.var
  %told = icmp sge i64 %length.setting, 0
  br i1 %told, label %next, label %odd
next:
  %i.next = add i64 %i, 1
  br label %loop
odd:
  ret i1 false
done:
  %total = load i64, ptr %length.var
  %total.at = getelementptr %call, ptr %call, i64 0, i32 4
  store i64 %total, ptr %total.at
  ret i1 true
}

define internal i64 @hash(ptr %key, i64 %length) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %one ]
  %found = phi i64 [ %length, %0 ], [ %mixed, %one ]
  %more = icmp slt i64 %i, %length
  br i1 %more, label %one, label %done
one:
  %at = getelementptr i64, ptr %key, i64 %i
  %word = load i64, ptr %at
  %both = xor i64 %found, %word
  %mixed = mul i64 %both, {MULTIPLIER}
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret i64 %found
}

define internal i1 @equal(ptr %first, ptr %second, i64 %length) {
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %length
  br i1 %more, label %one, label %yes
one:
  %first.at = getelementptr i64, ptr %first, i64 %i
  %second.at = getelementptr i64, ptr %second, i64 %i
  %a = load i64, ptr %first.at
  %b = load i64, ptr %second.at
  %same = icmp eq i64 %a, %b
  %i.next = add i64 %i, 1
  br i1 %same, label %loop, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; How many keywords there are; their addresses come last in the key.
define internal i64 @name_count(ptr %names) alwaysinline {
  %none = icmp eq ptr %names, null
  br i1 %none, label %without, label %with
without:
  ret i64 0
with:
  %size.at = getelementptr i8, ptr %names, i64 {SIZE}
  %size = load i64, ptr %size.at
  ret i64 %size
}

define internal void @read_names(ptr %call, ptr %names, i64 %count) {
  %length.at = getelementptr %call, ptr %call, i64 0, i32 4
  %length = load i64, ptr %length.at
  %to = getelementptr i64, ptr %call, i64 %length
  %items = getelementptr i8, ptr %names, i64 {ITEMS}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr i64, ptr %items, i64 %i
  %item = load i64, ptr %item.at
  %at = getelementptr i64, ptr %to, i64 %i
  store i64 %item, ptr %at
  %i.next = add i64 %i, 1
  br label %loop
done:
  %total = add i64 %length, %count
  store i64 %total, ptr %length.at
  ret void
}

; The entry for a key, or null.
define internal ptr @find(ptr %table, ptr %key, i64 %length) {
  %hash = call i64 @hash(ptr %key, i64 %length)
  %first = lshr i64 %hash, {SHIFT}
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %again ]
  %sum = add i64 %first, %i
  %place = and i64 %sum, {LAST}
  %at = getelementptr ptr, ptr %table, i64 %place
  %entry = load ptr, ptr %at
  %there = icmp ne ptr %entry, null
  br i1 %there, label %look, label %nothing
look:
  %entry.hash = load i64, ptr %entry
  %same.hash = icmp eq i64 %entry.hash, %hash
  br i1 %same.hash, label %look.closer, label %again
look.closer:
  %length.at = getelementptr i64, ptr %entry, i64 1
  %entry.length = load i64, ptr %length.at
  %same.length = icmp eq i64 %entry.length, %length
  br i1 %same.length, label %compare, label %again
compare:
  %entry.key = getelementptr i64, ptr %entry, i64 {HEADER}
  %same = call i1 @equal(ptr %entry.key, ptr %key, i64 %length)
  br i1 %same, label %found, label %again
again:
  %i.next = add i64 %i, 1
  %more = icmp sle i64 %i.next, {PROBES}
  br i1 %more, label %loop, label %nothing
found:
  ret ptr %entry
nothing:
  ret ptr null
}

; The entry for a call; null where there is none.
define internal ptr @lookup(ptr %self, ptr %call, ptr %args, i64 %count, ptr %names, i64 %named) {
  %table.at = getelementptr i8, ptr %self, i64 {BYTES}
  %table = load ptr, ptr %table.at, align 1
  %numbers.at = getelementptr ptr, ptr %table.at, i64 1
  %numbers = load i64, ptr %numbers.at, align 1
  %known = call i1 @read(ptr %call, ptr %args, i64 %count, i64 %numbers)
  br i1 %known, label %described, label %nothing
described:
  %any.name = icmp sgt i64 %named, 0
  br i1 %any.name, label %keywords, label %search
keywords:
  call void @read_names(ptr %call, ptr %names, i64 %named)
  br label %search
search:
  %length.at = getelementptr %call, ptr %call, i64 0, i32 4
  %length = load i64, ptr %length.at
  %entry = call ptr @find(ptr %table, ptr %call, i64 %length)
  ret ptr %entry
nothing:
  ret ptr null
}
"""
