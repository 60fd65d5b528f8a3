"""The machine code of the caching allocator, as LLVM IR; `iskra.runtime.memory` loads it.

A block is what NumPy gets: the address of its data, 64-byte aligned. In front of the data stands a
header: where the memory came from, and the block's class. Blocks of less than 4 KiB are left to
NumPy's own handler, which is quick there; their header is 16 bytes, and they are not counted.

Sizes have eight classes to a doubling, so that a block is less than an eighth larger than what was
asked for. Free blocks of a class form a stack; the last block freed, still in the processor's
cache, goes out first. Blocks from 2 MiB on are mapped on their own, on a 2 MiB boundary, in huge
pages; smaller ones are the C library's.

A spin lock guards the lists. NumPy allocates under the GIL, so it is free unless Python runs
without one; it is never held across a call to the system.
"""

import sys
from string import Template

from iskra.runtime.memory_arrays import ARRAYS, OFFSETS, TABLE

SMALLEST = 1 << 12    # bytes: below, the C library serves
MAPPED = 1 << 21      # bytes: from here on a block is a mapping of its own
PER_DOUBLING = 8
CLASSES = PER_DOUBLING * 36  # the largest class holds 2**47 bytes
HEADER = 64

# What `report` writes, in this order: int64 each.
COUNTERS = ("allocated", "peak", "cached", "in_use", "free", "hits", "misses", "released")

_LISTS = """
$counters
@tick = internal global i64 0
@lock = internal global i64 0
@floor = internal global i64 $floor
@limit = internal global i64 $most
@heads = internal global [$classes x ptr] zeroinitializer
@touched = internal global [$classes x i64] zeroinitializer

declare void @free(ptr)
declare i32 @posix_memalign(ptr, i64, i64)
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @munmap(ptr, i64)
declare i32 @madvise(ptr, i64, i32)
declare i32 @sched_yield()
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.smax.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @iskra_memory_lock() {
  br label %try
try:
  %was = atomicrmw xchg ptr @lock, i64 1 acquire
  %taken = icmp ne i64 %was, 0
  br i1 %taken, label %wait, label %done
wait:
  %ignored = call i32 @sched_yield()
  br label %try
done:
  ret void
}

define void @iskra_memory_unlock() {
  store atomic i64 0, ptr @lock release, align 8
  ret void
}

define internal void @add(ptr %counter, i64 %amount) {
  %old = load i64, ptr %counter
  %new = add i64 %old, %amount
  store i64 %new, ptr %counter
  ret void
}

; The class of the smallest blocks that hold `size` bytes.
define internal i64 @class_of(i64 %size) {
  %small = icmp ult i64 %size, $smallest
  %at_least = select i1 %small, i64 $smallest, i64 %size
  %last = sub i64 %at_least, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %last, i1 true)
  %exponent = sub i64 63, %zeros
  %shift = sub i64 %exponent, 3
  %top = lshr i64 %last, %shift          ; 8 to 15: the leading four bits
  %step = sub i64 %top, 8
  %doubling = sub i64 %exponent, 11      ; one less than 4096 has the exponent 11
  %first = mul i64 %doubling, $per_doubling
  %class = add i64 %first, %step
  ret i64 %class
}

; How many bytes the blocks of a class hold.
define internal i64 @capacity_of(i64 %class) {
  %doubling = lshr i64 %class, 3
  %step = and i64 %class, 7
  %shift = add i64 %doubling, 8
  %eighths = add i64 %step, 9
  %capacity = shl i64 %eighths, %shift
  ret i64 %capacity
}

define internal void @touch(i64 %class) {
  %now = load i64, ptr @tick
  %next = add i64 %now, 1
  store i64 %next, ptr @tick
  %place = getelementptr [$classes x i64], ptr @touched, i64 0, i64 %class
  store i64 %next, ptr %place
  ret void
}

; Take a free block of this class off its list; null if there is none. The lock is held.
define internal ptr @pop(i64 %class) {
  %place = getelementptr [$classes x ptr], ptr @heads, i64 0, i64 %class
  %block = load ptr, ptr %place
  %none = icmp eq ptr %block, null
  br i1 %none, label %done, label %found
found:
  %link = getelementptr i8, ptr %block, i64 -64
  %next = load ptr, ptr %link
  store ptr %next, ptr %place
  %capacity = call i64 @capacity_of(i64 %class)
  %less = sub i64 0, %capacity
  call void @add(ptr @cached, i64 %less)
  call void @add(ptr @free_blocks, i64 -1)
  br label %done
done:
  ret ptr %block
}

; Count `bytes` of a block that goes into use. The lock is held.
define internal void @count_use(i64 %bytes) {
  call void @add(ptr @allocated, i64 %bytes)
  call void @add(ptr @in_use, i64 1)
  %now = load i64, ptr @allocated
  %peak = load i64, ptr @peak
  %most = call i64 @llvm.smax.i64(i64 %now, i64 %peak)
  store i64 %most, ptr @peak
  ret void
}

; A kept block of this class, or of the next: at most a quarter larger than what is wanted.
define internal ptr @reuse(i64 %class) {
  call void @iskra_memory_lock()
  call void @touch(i64 %class)
  %exact = call ptr @pop(i64 %class)
  %missed = icmp eq ptr %exact, null
  br i1 %missed, label %larger, label %hit
larger:
  %next = add i64 %class, 1
  %other = call ptr @pop(i64 %next)
  %none = icmp eq ptr %other, null
  br i1 %none, label %miss, label %hit
hit:
  %block = phi ptr [%exact, %0], [%other, %larger]
  %tag = getelementptr i8, ptr %block, i64 -8
  %held = load i64, ptr %tag
  %bytes = call i64 @capacity_of(i64 %held)
  call void @count_use(i64 %bytes)
  call void @add(ptr @hits, i64 1)
  call void @iskra_memory_unlock()
  ret ptr %block
miss:
  call void @add(ptr @misses, i64 1)
  call void @iskra_memory_unlock()
  ret ptr null
}

; Return a block's memory to the system. The block is on no list and not counted.
define internal void @give_back(ptr %block) {
  %base_place = getelementptr i8, ptr %block, i64 -56
  %base = load ptr, ptr %base_place
  %length_place = getelementptr i8, ptr %block, i64 -48
  %length = load i64, ptr %length_place
  %is_mapped = icmp ne i64 %length, 0
  br i1 %is_mapped, label %unmap, label %library
unmap:
  %ignored = call i32 @munmap(ptr %base, i64 %length)
  ret void
library:
  call void @free(ptr %base)
  ret void
}

; The class whose free blocks have not been asked for longest; -1 if no block is free.
define internal i64 @stalest() {
entry:
  br label %each
each:
  %class = phi i64 [0, %entry], [%next, %each]
  %best = phi i64 [-1, %entry], [%better, %each]
  %best_tick = phi i64 [$most, %entry], [%better_tick, %each]
  %head = getelementptr [$classes x ptr], ptr @heads, i64 0, i64 %class
  %block = load ptr, ptr %head
  %has_block = icmp ne ptr %block, null
  %place = getelementptr [$classes x i64], ptr @touched, i64 0, i64 %class
  %tick = load i64, ptr %place
  %is_older = icmp slt i64 %tick, %best_tick
  %is_better = and i1 %has_block, %is_older
  %better = select i1 %is_better, i64 %class, i64 %best
  %better_tick = select i1 %is_better, i64 %tick, i64 %best_tick
  %next = add i64 %class, 1
  %more = icmp ult i64 %next, $classes
  br i1 %more, label %each, label %done
done:
  ret i64 %better
}

; Return free blocks to the system until at most `target` bytes are kept.
define void @iskra_memory_trim(i64 %target) {
  br label %look
look:
  call void @iskra_memory_lock()
  %kept = load i64, ptr @cached
  %enough = icmp sle i64 %kept, %target
  br i1 %enough, label %done, label %find
find:
  %class = call i64 @stalest()
  %none = icmp slt i64 %class, 0
  br i1 %none, label %done, label %drop
drop:
  %block = call ptr @pop(i64 %class)
  call void @add(ptr @released, i64 1)
  call void @iskra_memory_unlock()
  call void @give_back(ptr %block)
  br label %look
done:
  call void @iskra_memory_unlock()
  ret void
}
"""

_BLOCKS = """
; Whether so many bytes more stay within the limit on all memory held.
define internal i1 @is_allowed(i64 %bytes) {
  %used = load i64, ptr @allocated
  %kept = load i64, ptr @cached
  %held = add i64 %used, %kept
  %total = add i64 %held, %bytes
  %limit = load i64, ptr @limit
  %fits = icmp sle i64 %total, %limit
  ret i1 %fits
}

define internal ptr @write_header(ptr %base, i64 %length, i64 %class) {
  %block = getelementptr i8, ptr %base, i64 $header
  %base_place = getelementptr i8, ptr %block, i64 -56
  store ptr %base, ptr %base_place
  %length_place = getelementptr i8, ptr %block, i64 -48
  store i64 %length, ptr %length_place
  %zero_place = getelementptr i8, ptr %block, i64 -40
  store i64 %length, ptr %zero_place      ; a new mapping holds zeros
  %tag = getelementptr i8, ptr %block, i64 -8
  store i64 %class, ptr %tag
  ret ptr %block
}

; A mapping of its own: one that is too long, cut to a 2 MiB boundary.
define internal ptr @map(i64 %class) {
  %capacity = call i64 @capacity_of(i64 %class)
  %wanted = add i64 %capacity, ${header_and_page_rest}
  %length = and i64 %wanted, -4096
  %too_long = add i64 %length, $mapped
  %start = call ptr @mmap(ptr null, i64 %too_long, i32 3, i32 34, i32 -1, i64 0)
  %address = ptrtoint ptr %start to i64
  %failed = icmp eq i64 %address, -1
  br i1 %failed, label %nothing, label %cut
nothing:
  ret ptr null
cut:
  %up = add i64 %address, ${mapped_rest}
  %aligned = and i64 %up, -$mapped
  %before = sub i64 %aligned, %address
  %base = getelementptr i8, ptr %start, i64 %before
  %has_before = icmp ne i64 %before, 0
  br i1 %has_before, label %cut_before, label %after
cut_before:
  %ignored = call i32 @munmap(ptr %start, i64 %before)
  br label %after
after:
  %rest = sub i64 $mapped, %before
  %end = getelementptr i8, ptr %base, i64 %length
  %has_rest = icmp ne i64 %rest, 0
  br i1 %has_rest, label %cut_after, label %advise
cut_after:
  %ignored2 = call i32 @munmap(ptr %end, i64 %rest)
  br label %advise
advise:
  %ignored3 = call i32 @madvise(ptr %base, i64 %length, i32 14)  ; MADV_HUGEPAGE
  %block = call ptr @write_header(ptr %base, i64 %length, i64 %class)
  ret ptr %block
}

define internal ptr @from_library(i64 %class) {
  %place = alloca ptr
  %capacity = call i64 @capacity_of(i64 %class)
  %total = add i64 %capacity, $header
  %code = call i32 @posix_memalign(ptr %place, i64 64, i64 %total)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %nothing, label %made
nothing:
  ret ptr null
made:
  %base = load ptr, ptr %place
  %block = call ptr @write_header(ptr %base, i64 0, i64 %class)
  ret ptr %block
}

; A new block of this class from the system, counted as in use; null if there is no memory.
define internal ptr @fetch(i64 %class) {
  %capacity = call i64 @capacity_of(i64 %class)
  %allowed = call i1 @is_allowed(i64 %capacity)
  br i1 %allowed, label %ask, label %nothing
ask:
  %is_large = icmp uge i64 %capacity, $map_from
  br i1 %is_large, label %mapped, label %library
mapped:
  %mapping = call ptr @map(i64 %class)
  br label %got
library:
  %piece = call ptr @from_library(i64 %class)
  br label %got
got:
  %block = phi ptr [%mapping, %mapped], [%piece, %library]
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %nothing, label %count
count:
  call void @iskra_memory_lock()
  call void @count_use(i64 %capacity)
  call void @iskra_memory_unlock()
  ret ptr %block
nothing:
  ret ptr null
}

; A block for `size` >= 4096 bytes; null if there is no memory.
define internal ptr @allocate(i64 %size) {
  %impossible = icmp ugt i64 %size, $largest
  br i1 %impossible, label %nothing, label %look
look:
  %class = call i64 @class_of(i64 %size)
  %kept = call ptr @reuse(i64 %class)
  %has_kept = icmp ne ptr %kept, null
  br i1 %has_kept, label %used, label %fresh
used:
  %zero_place = getelementptr i8, ptr %kept, i64 -40
  store i64 0, ptr %zero_place
  ret ptr %kept
fresh:
  %new = call ptr @fetch(i64 %class)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %give_up_kept, label %got
got:
  ret ptr %new
give_up_kept:
  call void @iskra_memory_trim(i64 0)
  %again = call ptr @fetch(i64 %class)
  ret ptr %again
nothing:
  ret ptr null
}

; A block goes out of use: it is kept, and what is then too much is returned to the system.
define internal void @release(ptr %block) {
  %tag = getelementptr i8, ptr %block, i64 -8
  %class = load i64, ptr %tag
  %capacity = call i64 @capacity_of(i64 %class)
  %less = sub i64 0, %capacity
  call void @iskra_memory_lock()
  call void @add(ptr @allocated, i64 %less)
  call void @add(ptr @in_use, i64 -1)
  %peak = load i64, ptr @peak
  %half = ashr i64 %peak, 1
  %floor = load i64, ptr @floor
  %most = call i64 @llvm.smax.i64(i64 %half, i64 %floor)
  %too_large = icmp sgt i64 %capacity, %most
  br i1 %too_large, label %drop, label %keep
drop:
  call void @add(ptr @released, i64 1)
  call void @iskra_memory_unlock()
  call void @give_back(ptr %block)
  ret void
keep:
  call void @touch(i64 %class)
  %place = getelementptr [$classes x ptr], ptr @heads, i64 0, i64 %class
  %next = load ptr, ptr %place
  %link = getelementptr i8, ptr %block, i64 -64
  store ptr %next, ptr %link
  store ptr %block, ptr %place
  call void @add(ptr @cached, i64 %capacity)
  call void @add(ptr @free_blocks, i64 1)
  %kept = load i64, ptr @cached
  call void @iskra_memory_unlock()
  %too_much = icmp sgt i64 %kept, %most
  br i1 %too_much, label %trim, label %done
trim:
  call void @iskra_memory_trim(i64 %most)
  br label %done
done:
  ret void
}
"""

_HANDLER = """
; NumPy's memory handler (NEP 49): malloc, calloc, realloc, free. The context is not used.

define internal ptr @small(ptr %base, i64 %size) {
  %failed = icmp eq ptr %base, null
  br i1 %failed, label %nothing, label %made
made:
  %block = getelementptr i8, ptr %base, i64 16
  store i64 %size, ptr %base
  %tag = getelementptr i8, ptr %block, i64 -8
  store i64 -1, ptr %tag
  ret ptr %block
nothing:
  ret ptr null
}

define ptr @iskra_memory_malloc(ptr %context, i64 %size) {
  %is_small = icmp ult i64 %size, $smallest
  br i1 %is_small, label %library, label %ours
library:
  %total = add i64 %size, 16
  %numpy_malloc = load ptr, ptr @small_malloc
  %base = call ptr %numpy_malloc(ptr null, i64 %total)
  %piece = call ptr @small(ptr %base, i64 %size)
  ret ptr %piece
ours:
  %block = call ptr @allocate(i64 %size)
  ret ptr %block
}

define ptr @iskra_memory_calloc(ptr %context, i64 %count, i64 %each) {
  %product = call {i64, i1} @llvm.umul.with.overflow.i64(i64 %count, i64 %each)
  %size = extractvalue {i64, i1} %product, 0
  %overflow = extractvalue {i64, i1} %product, 1
  br i1 %overflow, label %nothing, label %ask
ask:
  %block = call ptr @iskra_memory_malloc(ptr null, i64 %size)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %nothing, label %made
made:
  %tag = getelementptr i8, ptr %block, i64 -8
  %class = load i64, ptr %tag
  %is_small = icmp slt i64 %class, 0
  br i1 %is_small, label %clear, label %ours
ours:
  %zero_place = getelementptr i8, ptr %block, i64 -40
  %zeros = load i64, ptr %zero_place
  %is_clear = icmp ne i64 %zeros, 0
  br i1 %is_clear, label %done, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %size, i1 false)
  br label %done
done:
  ret ptr %block
nothing:
  ret ptr null
}

define void @iskra_memory_free(ptr %context, ptr %block, i64 %size) {
  %none = icmp eq ptr %block, null
  br i1 %none, label %done, label %some
some:
  %tag = getelementptr i8, ptr %block, i64 -8
  %class = load i64, ptr %tag
  %is_small = icmp slt i64 %class, 0
  br i1 %is_small, label %library, label %ours
library:
  %base = getelementptr i8, ptr %block, i64 -16
  %size_asked = load i64, ptr %base
  %total = add i64 %size_asked, 16
  %numpy_free = load ptr, ptr @small_free
  call void %numpy_free(ptr null, ptr %base, i64 %total)
  ret void
ours:
  call void @release(ptr %block)
  ret void
done:
  ret void
}

; How many bytes a block holds, and how many of them may be left unused when it shrinks.
define internal i64 @held_by(ptr %block) {
  %tag = getelementptr i8, ptr %block, i64 -8
  %class = load i64, ptr %tag
  %is_small = icmp slt i64 %class, 0
  br i1 %is_small, label %library, label %ours
library:
  %size_place = getelementptr i8, ptr %block, i64 -16
  %size = load i64, ptr %size_place
  ret i64 %size
ours:
  %capacity = call i64 @capacity_of(i64 %class)
  ret i64 %capacity
}

define ptr @iskra_memory_realloc(ptr %context, ptr %block, i64 %size) {
  %none = icmp eq ptr %block, null
  br i1 %none, label %new, label %some
new:
  %first = call ptr @iskra_memory_malloc(ptr null, i64 %size)
  ret ptr %first
some:
  %tag = getelementptr i8, ptr %block, i64 -8
  %class = load i64, ptr %tag
  %was_small = icmp slt i64 %class, 0
  %is_small = icmp ult i64 %size, $smallest
  %stays_small = and i1 %was_small, %is_small
  br i1 %stays_small, label %library, label %measure
library:
  %base = getelementptr i8, ptr %block, i64 -16
  %total = add i64 %size, 16
  %numpy_realloc = load ptr, ptr @small_realloc
  %moved_base = call ptr %numpy_realloc(ptr null, ptr %base, i64 %total)
  %piece = call ptr @small(ptr %moved_base, i64 %size)
  ret ptr %piece
measure:
  %held = call i64 @held_by(ptr %block)
  %fits = icmp ule i64 %size, %held
  %half = lshr i64 %held, 1
  %wastes_little = icmp uge i64 %size, %half
  %fits_well = and i1 %fits, %wastes_little
  br i1 %fits_well, label %stay, label %move
stay:
  ret ptr %block
move:
  %other = call ptr @iskra_memory_malloc(ptr null, i64 %size)
  %failed = icmp eq ptr %other, null
  br i1 %failed, label %nothing, label %copy
copy:
  %bytes = select i1 %fits, i64 %size, i64 %held
  call void @llvm.memcpy.p0.p0.i64(ptr %other, ptr %block, i64 %bytes, i1 false)
  call void @iskra_memory_free(ptr null, ptr %block, i64 0)
  ret ptr %other
nothing:
  ret ptr null
}
"""

def _copies(names, kind, from_words):
    """Instructions that copy globals from or to consecutive words."""
    lines = []
    for index, name in enumerate(names):
        word = f"%{name}_word"
        source, target = (word, f"@{name}") if from_words else (f"@{name}", word)
        lines += [
            f"  {word} = getelementptr {kind}, ptr %words, i64 {index}",
            f"  %{name}_value = load {kind}, ptr {source}",
            f"  store {kind} %{name}_value, ptr {target}",
        ]
    return "\n".join(lines)


def text(floor):
    """The IR of the whole allocator; `floor` is the number of bytes it may always keep."""
    counters = ["free_blocks" if name == "free" else name for name in COUNTERS]
    values = {
        "counters": "\n".join(f"@{name} = internal global i64 0" for name in counters),
        "table": "\n".join(f"@{name} = internal global ptr null" for name in TABLE),
        "prepare": _copies(TABLE, "ptr", from_words=True),
        "report": _copies(counters, "i64", from_words=False),
        "floor": floor, "most": (1 << 63) - 1,
        "smallest": SMALLEST, "largest": 1 << 46, "classes": CLASSES,
        "per_doubling": PER_DOUBLING, "header": HEADER,
        "mapped": MAPPED, "mapped_rest": MAPPED - 1, "header_and_page_rest": HEADER + 4095,
        # The flags of mmap and madvise are Linux's.
        "map_from": MAPPED if sys.platform == "linux" else 1 << 62,
        "behaved": 0x501,  # C-contiguous, aligned, writeable
        **OFFSETS,
    }
    return Template(_LISTS + _BLOCKS + _HANDLER + ARRAYS).substitute(values)
