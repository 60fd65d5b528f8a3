"""The part of `quick_ir` for arguments that are lists of tensors.

Each item is an operand, and an argument where the call is recorded.
"""

LISTING = """
; Whether an argument is a list or tuple that begins with a tensor.
define internal i1 @is_list(ptr %value, ptr %type) {
  %is.list = icmp eq ptr %type, @iskra_list
  %is.tuple = icmp eq ptr %type, @iskra_tuple
  %either = or i1 %is.list, %is.tuple
  br i1 %either, label %look, label %no
look:
  %size.at = getelementptr i8, ptr %value, i64 {SIZE}
  %size = load i64, ptr %size.at
  %some = icmp sgt i64 %size, 0
  br i1 %some, label %inside, label %no
inside:
  %items = call ptr @items_of(ptr %value)
  %first = load ptr, ptr %items
  %first.type.at = getelementptr i8, ptr %first, i64 {TYPE}
  %first.type = load ptr, ptr %first.type.at
  %answer = call i1 @is_tensor(ptr %first.type)
  ret i1 %answer
no:
  ret i1 false
}

; The part of the key of a list of tensors; the length of the key, or -1.
define internal i64 @describe_list(ptr %list, ptr %call, i64 %length, ptr %operands.var) {
  %at = getelementptr i64, ptr %call, i64 %length
  store i64 {LIST}, ptr %at
  %count.to = getelementptr i64, ptr %at, i64 1
  %size.at = getelementptr i8, ptr %list, i64 {SIZE}
  %size = load i64, ptr %size.at
  store i64 %size, ptr %count.to
  %listed.at = getelementptr %call, ptr %call, i64 0, i32 5
  store i64 1, ptr %listed.at
  %items = call ptr @items_of(ptr %list)
  %data = getelementptr %call, ptr %call, i64 0, i32 1
  %begin = add i64 %length, 2
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %place = phi i64 [ %begin, %0 ], [ %place.next, %next ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done
one:
  %item.at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %item.at
  %type.at = getelementptr i8, ptr %item, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %is.tensor = call i1 @is_tensor(ptr %type)
  %operand = load i64, ptr %operands.var
  %few = icmp slt i64 %operand, {MOST_RECORDED}
  %room = icmp sle i64 %place, {ROOM}
  %fits = and i1 %few, %room
  %good = and i1 %fits, %is.tensor
  br i1 %good, label %tell, label %odd
tell:
  %operand.next = add i64 %operand, 1
  store i64 %operand.next, ptr %operands.var
  %data.place = getelementptr ptr, ptr %data, i64 %operand
  %place.next = call i64 @describe(ptr %item, ptr %call, i64 %place, ptr %data.place)
  %described = icmp sge i64 %place.next, 0
  br i1 %described, label %next, label %odd
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret i64 %place
odd:
  ret i64 -1
}

; The arguments with what lists of tensors hold in the lists' places, and a bit for each of them
; that is in %targets; how many there are, or -1 for too many.
define internal i64 @flatten(ptr %args, i64 %count, i64 %targets, ptr %flat, ptr %targets.place) {
  %taken.var = alloca i64
  %bits.var = alloca i64
  store i64 0, ptr %taken.var
  store i64 0, ptr %bits.var
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %arg.at = getelementptr ptr, ptr %args, i64 %i
  %arg = load ptr, ptr %arg.at
  %type.at = getelementptr i8, ptr %arg, i64 {TYPE}
  %type = load ptr, ptr %type.at
  %shifted = lshr i64 %targets, %i
  %wanted = and i64 %shifted, 1
  %several = call i1 @is_list(ptr %arg, ptr %type)
  br i1 %several, label %list, label %put
list:
  %size.at = getelementptr i8, ptr %arg, i64 {SIZE}
  %size = load i64, ptr %size.at
  %items = call ptr @items_of(ptr %arg)
  br label %put
put:
  %from = phi ptr [ %arg.at, %one ], [ %items, %list ]
  %many = phi i64 [ 1, %one ], [ %size, %list ]
  br label %item
item:
  %k = phi i64 [ 0, %put ], [ %k.next, %store ]
  %left = icmp slt i64 %k, %many
  br i1 %left, label %check, label %next
check:
  %taken = load i64, ptr %taken.var
  %room = icmp slt i64 %taken, {MOST_ARGUMENTS}
  br i1 %room, label %store, label %full
store:
  %item.at = getelementptr ptr, ptr %from, i64 %k
  %value = load ptr, ptr %item.at
  %to = getelementptr ptr, ptr %flat, i64 %taken
  store ptr %value, ptr %to
  %bit = shl i64 %wanted, %taken
  %bits = load i64, ptr %bits.var
  %bits.more = or i64 %bits, %bit
  store i64 %bits.more, ptr %bits.var
  %taken.next = add i64 %taken, 1
  store i64 %taken.next, ptr %taken.var
  %k.next = add i64 %k, 1
  br label %item
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  %all.bits = load i64, ptr %bits.var
  store i64 %all.bits, ptr %targets.place
  %total = load i64, ptr %taken.var
  ret i64 %total
full:
  ret i64 -1
}

; Record a call with lists of tensors, whose items count as arguments.
define internal i32 @record_lists(ptr %entry, ptr %args, i64 %count, i64 %targets, ptr %answer) {
  %flat = alloca [{MOST_ARGUMENTS} x ptr]
  %bits.var = alloca i64
  %many = call i64 @flatten(ptr %args, i64 %count, i64 %targets, ptr %flat, ptr %bits.var)
  %full = icmp slt i64 %many, 0
  br i1 %full, label %leave, label %look
look:
  %bits = load i64, ptr %bits.var
  %beyond = lshr i64 %bits, {MOST_RECORDED}
  %few = icmp eq i64 %beyond, 0
  br i1 %few, label %do, label %leave
do:
  %outcome = call i32 @record(ptr %entry, ptr %flat, i64 %many, i64 %bits, ptr %answer,
      ptr @iskra_edge)
  ret i32 %outcome
leave:
  ret i32 1
}
"""
