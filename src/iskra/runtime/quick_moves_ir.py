"""The part of `quick_ir` that puts elements of operands into a small result: kernels for steps of
calls that only rearrange, one for each size of elements.

Their slots are the result, a listing, the number of runs in it, the bytes to be cleared first, and
the operands. A run is five words: the operand's number, the element at which it begins there, the
step to the next one (in elements), where the run begins in the result, and its length.
"""

SIZES = (1, 2, 4, 8, 16)    # bytes of an element

_MOVE = """
define void @move_{BYTES}(ptr %slots, i64 %task) {
  %result = load ptr, ptr %slots
  %listing.at = getelementptr ptr, ptr %slots, i64 1
  %listing = load ptr, ptr %listing.at
  %count.at = getelementptr i64, ptr %slots, i64 2
  %count = load i64, ptr %count.at
  %cleared.at = getelementptr i64, ptr %slots, i64 3
  %cleared = load i64, ptr %cleared.at
  %operands = getelementptr ptr, ptr %slots, i64 4
  call void @llvm.memset.p0.i64(ptr %result, i8 0, i64 %cleared, i1 false)
  br label %loop
loop:
  %i = phi i64 [ 0, %0 ], [ %i.next, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %run, label %done
run:
  %words = mul i64 %i, 5
  %operand.at = getelementptr i64, ptr %listing, i64 %words
  %operand = load i64, ptr %operand.at
  %start.at = getelementptr i64, ptr %operand.at, i64 1
  %start = load i64, ptr %start.at
  %step.at = getelementptr i64, ptr %operand.at, i64 2
  %step = load i64, ptr %step.at
  %target.at = getelementptr i64, ptr %operand.at, i64 3
  %target = load i64, ptr %target.at
  %length.at = getelementptr i64, ptr %operand.at, i64 4
  %length = load i64, ptr %length.at
  %source.at = getelementptr ptr, ptr %operands, i64 %operand
  %source = load ptr, ptr %source.at
  %from = getelementptr i{BITS}, ptr %source, i64 %start
  %to = getelementptr i{BITS}, ptr %result, i64 %target
  %alone = icmp eq i64 %step, 1
  br i1 %alone, label %whole, label %elements
whole:
  %bytes = mul i64 %length, {BYTES}
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  br label %next
elements:
  %k = phi i64 [ 0, %run ], [ %k.next, %one ]
  %left = icmp slt i64 %k, %length
  br i1 %left, label %one, label %next
one:
  %place = mul i64 %k, %step
  %from.at = getelementptr i{BITS}, ptr %from, i64 %place
  %value = load i{BITS}, ptr %from.at, align {ALIGN}
  %to.at = getelementptr i{BITS}, ptr %to, i64 %k
  store i{BITS} %value, ptr %to.at, align {ALIGN}
  %k.next = add i64 %k, 1
  br label %elements
next:
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}
"""

MOVING = "".join(
    _MOVE.replace("{BYTES}", str(size)).replace("{BITS}", str(8 * size))
    .replace("{ALIGN}", str(min(size, 8)))
    for size in SIZES
)
