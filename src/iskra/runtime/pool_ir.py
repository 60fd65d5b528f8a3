"""The thread pool's machine code, as LLVM IR.

Worker threads never enter Python: they wait inside this code, spinning for a millisecond or so and
then parked by the operating system (waking them from there takes 5 to 50 microseconds). One launch
at a time owns the pool; whoever finds it taken (another thread, or a task that launches again) runs
its tasks itself, one by one.

A launch publishes its tasks under a new *epoch*, carries them out together with the workers, then
closes the epoch and waits only for workers that have entered it. Workers that wake too late find it
closed: the launcher never waits for a thread to be scheduled.

The tasks are cut into as many *ranges* as there are threads. Each thread begins with its own, the
same one in every launch, and goes on to those of others when that is done. So neighbouring tasks,
which mostly read and write neighbouring memory, stay together, and what a thread wrote in one
launch it finds in its own caches in the next. And launches take turns to go through a range from
its first task to its last and back: what the one before has touched last, and the caches still
hold, is read first, while going round and round would always find it just overwritten.

Functions, besides `worker`:

    void pool_run(ptr kernel, ptr slots, i64 tasks)
        Calls kernel(slots, task) for each task once, on several threads, and returns when all are
        done. Other JIT code may declare and call it.
    i32 pool_run_polled(ptr kernel, ptr slots, i64 tasks, ptr poll, ptr data)
        The same, and calls poll(data) on the launching thread every now and then; where that is
        not 0, no more tasks are handed out and its value is returned. FORKED: poll has forked,
        this is the child, and the tasks that ran on other threads are lost.
"""

import signal
import time

from iskra.runtime.pool_system_ir import system_ir

# Where things lie in the state, in bytes. What different threads write lies two cache lines
# apart, since neighbouring lines are fetched in pairs.
WORD = 0            # i64: epoch << 32 | open << 16 | workers inside
ALLOWED = 8         # i32: how many workers may enter this launch
KERNEL, SLOTS, COUNT, MODE = 16, 24, 32, 40     # COUNT: i64: how many ranges
LOCK = 256          # i32: 1 while a launch owns the pool
STARTED = 260       # i32: how many workers there are
FORKS = 264         # i32: how often this process is the child of a fork
SLEEPERS = 384      # i32: how many workers are parked
THREADS = 512       # i32: how many threads may work, the launching one included
SPIN = 516          # i32: how many turns a worker waits before it parks
MUTEX, CONDITION = 640, 704
WAY = 576           # i64: whether the next launch goes through its ranges backwards
RANGES = 768        # four i64 each: how many tasks were taken, of how many; the first, the way
RANGE, MOST_RANGES = 128, 64
SIZE = RANGES + RANGE * MOST_RANGES

FORKED = -1
POLL_INTERVAL = 50_000_000      # nanoseconds
FAR = 1 << 62                   # a task beyond all ranges
# After how many turns (some 50 microseconds) a waiting thread offers its core to others.
EAGER = 2000

_WORKER = """
@pool = global [{SIZE} x i8] zeroinitializer, align 128

define internal i32 @pool_epoch() {
  %word = load atomic i64, ptr @pool seq_cst, align 8
  %high = lshr i64 %word, 32
  %epoch = trunc i64 %high to i32
  ret i32 %epoch
}

; %birth: the epoch before the launch that made this worker << 32 | the worker's number
define internal ptr @worker(ptr %birth) {
  %sleepers = getelementptr i8, ptr @pool, i64 {SLEEPERS}
  %ranges = getelementptr i8, ptr @pool, i64 {RANGES}
  %turn = alloca i64
  %bits = ptrtoint ptr %birth to i64
  %number = trunc i64 %bits to i32
  %high = lshr i64 %bits, 32
  %first = trunc i64 %high to i32
  %numbered = zext i32 %number to i64
  %home = add i64 %numbered, 1                ; the launcher's range is the first
  %seen.var = alloca i32
  %spins = alloca i32
  store i32 %first, ptr %seen.var
  br label %top

top:
  store i32 0, ptr %spins
  br label %wait

wait:
  %seen = load i32, ptr %seen.var
  %epoch = call i32 @pool_epoch()
  %changed = icmp ne i32 %epoch, %seen
  br i1 %changed, label %enter, label %idle

idle:
  %spin = load i32, ptr %spins
  %spin.next = add i32 %spin, 1
  store i32 %spin.next, ptr %spins
  %limit = call i32 @spin_limit(i32 %number)
  %again = icmp slt i32 %spin, %limit
  br i1 %again, label %linger, label %sleep

linger:
  call void @linger(i32 %spin)
  br label %wait

sleep:
  atomicrmw add ptr %sleepers, i32 1 seq_cst
  call void @park(i32 %seen)
  atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %top

enter:
  %word = load atomic i64, ptr @pool acquire, align 8
  %word.high = lshr i64 %word, 32
  %word.epoch = trunc i64 %word.high to i32
  store i32 %word.epoch, ptr %seen.var
  %open.bit = and i64 %word, 65536
  %open = icmp ne i64 %open.bit, 0
  br i1 %open, label %room, label %top

room:
  %allowed.at = getelementptr i8, ptr @pool, i64 {ALLOWED}
  %allowed = load atomic i32, ptr %allowed.at monotonic, align 4
  %inside.bits = and i64 %word, 65535
  %inside = trunc i64 %inside.bits to i32
  %fits = icmp slt i32 %inside, %allowed
  br i1 %fits, label %try, label %top

try:
  %word.new = add i64 %word, 1
  %try.pair = cmpxchg ptr @pool, i64 %word, i64 %word.new acq_rel monotonic
  %entered = extractvalue { i64, i1 } %try.pair, 1
  br i1 %entered, label %work, label %enter

work:
  ; Denormals and rounding as on the launching thread: bits must not depend on who computes them.
  call void @mode_adopt()
  %kernel.at = getelementptr i8, ptr @pool, i64 {KERNEL}
  %slots.at = getelementptr i8, ptr @pool, i64 {SLOTS}
  %count.at = getelementptr i8, ptr @pool, i64 {COUNT}
  %kernel = load ptr, ptr %kernel.at
  %slots = load ptr, ptr %slots.at
  %count = load i64, ptr %count.at
  store i64 %home, ptr %turn
  br label %take

take:
  %task = call i64 @take(ptr %ranges, i64 %count, i64 %home, ptr %turn)
  %some = icmp sge i64 %task, 0
  br i1 %some, label %run, label %leave

run:
  call void %kernel(ptr %slots, i64 %task)
  br label %take

leave:
  atomicrmw sub ptr @pool, i64 1 release
  br label %top
}

; A task that nobody has taken yet, or -1: from the range whose turn it is, or from a later one.
; Turns begin at %home; a range that is empty stays so.
define internal i64 @take(ptr %ranges, i64 %count, i64 %home, ptr %turn.var) {
  %end = add i64 %home, %count
  br label %look
look:
  %turn = load i64, ptr %turn.var
  %more = icmp slt i64 %turn, %end
  br i1 %more, label %try, label %none
try:
  %place = urem i64 %turn, %count
  %offset = mul i64 %place, {RANGE}
  %range = getelementptr i8, ptr %ranges, i64 %offset
  %stop.at = getelementptr i64, ptr %range, i64 1
  %stop = load i64, ptr %stop.at
  %taken = atomicrmw add ptr %range, i64 1 monotonic
  %some = icmp slt i64 %taken, %stop
  br i1 %some, label %found, label %next
next:
  %turn.next = add i64 %turn, 1
  store i64 %turn.next, ptr %turn.var
  br label %look
found:
  %first.at = getelementptr i64, ptr %range, i64 2
  %first = load i64, ptr %first.at
  %way.at = getelementptr i64, ptr %range, i64 3
  %way = load i64, ptr %way.at
  %step = mul i64 %taken, %way
  %task = add i64 %first, %step
  ret i64 %task
none:
  ret i64 -1
}

; Cuts tasks into ranges, to be gone through forwards (1) or backwards (-1).
define internal void @fill(ptr %ranges, i64 %count, i64 %tasks, i64 %way) {
  %forwards = icmp sgt i64 %way, 0
  br label %one
one:
  %number = phi i64 [ 0, %0 ], [ %number.next, %one ]
  %begin = phi i64 [ 0, %0 ], [ %end, %one ]
  %offset = mul i64 %number, {RANGE}
  %range = getelementptr i8, ptr %ranges, i64 %offset
  %number.next = add i64 %number, 1
  %share = mul i64 %number.next, %tasks
  %end = sdiv i64 %share, %count
  %many = sub i64 %end, %begin
  %last = sub i64 %end, 1
  %first = select i1 %forwards, i64 %begin, i64 %last
  %many.at = getelementptr i64, ptr %range, i64 1
  %first.at = getelementptr i64, ptr %range, i64 2
  %way.at = getelementptr i64, ptr %range, i64 3
  store atomic i64 0, ptr %range monotonic, align 8
  store i64 %many, ptr %many.at
  store i64 %first, ptr %first.at
  store i64 %way, ptr %way.at
  %more = icmp slt i64 %number.next, %count
  br i1 %more, label %one, label %done
done:
  ret void
}

; Which way to go through the ranges this time: 1 or -1.
define internal i64 @turn() {
  %way.at = getelementptr i8, ptr @pool, i64 {WAY}
  %backwards = atomicrmw xor ptr %way.at, i64 1 monotonic
  %twice = shl i64 %backwards, 1
  %way = sub i64 1, %twice
  ret i64 %way
}

; Sees to it that no more tasks are found.
define internal void @drain(ptr %ranges, i64 %count) {
  br label %one
one:
  %number = phi i64 [ 0, %0 ], [ %number.next, %one ]
  %offset = mul i64 %number, {RANGE}
  %range = getelementptr i8, ptr %ranges, i64 %offset
  store atomic i64 {FAR}, ptr %range monotonic, align 8
  %number.next = add i64 %number, 1
  %more = icmp slt i64 %number.next, %count
  br i1 %more, label %one, label %done
done:
  ret void
}

; One turn of waiting: at first just a breath, later an offer of the core to whoever needs it.
define internal void @linger(i32 %turn) {
  call void @relax()
  %eager = icmp slt i32 %turn, {EAGER}
  br i1 %eager, label %done, label %breathe
breathe:
  %i = phi i32 [ 0, %0 ], [ %i.next, %breathe ]
  call void @relax()
  %i.next = add i32 %i, 1
  %more = icmp slt i32 %i, 30
  br i1 %more, label %breathe, label %yield
yield:
  call i32 @sched_yield()
  br label %done
done:
  ret void
}

; Workers beyond the number of threads asked for do not spin.
define internal i32 @spin_limit(i32 %number) {
  %threads.at = getelementptr i8, ptr @pool, i64 {THREADS}
  %spin.at = getelementptr i8, ptr @pool, i64 {SPIN}
  %threads = load atomic i32, ptr %threads.at monotonic, align 4
  %spin = load atomic i32, ptr %spin.at monotonic, align 4
  %after = add i32 %number, 1
  %wanted = icmp slt i32 %after, %threads
  %limit = select i1 %wanted, i32 %spin, i32 0
  ret i32 %limit
}
"""

# Signals are for Python's threads; workers take only those that a fault of their own raises.
_GROW = """
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)

; Makes workers until there are %wanted; if the system refuses, the pool stays smaller.
define internal void @grow(i32 %wanted) noinline {
  %started.at = getelementptr i8, ptr @pool, i64 {STARTED}
  %threads.at = getelementptr i8, ptr @pool, i64 {THREADS}
  %thread.at = alloca ptr
  %all = alloca [128 x i8], align 16
  %old = alloca [128 x i8], align 16
  call i32 @sigfillset(ptr %all)
{UNBLOCK}
  call i32 @pthread_sigmask(i32 {SETMASK}, ptr %all, ptr %old)
  %epoch = call i32 @pool_epoch()
  %epoch.wide = zext i32 %epoch to i64
  %epoch.high = shl i64 %epoch.wide, 32
  br label %more

more:
  %started = load i32, ptr %started.at
  %missing = icmp slt i32 %started, %wanted
  br i1 %missing, label %make, label %done

make:
  %number = zext i32 %started to i64
  %bits = or i64 %epoch.high, %number
  %birth = inttoptr i64 %bits to ptr
  %failed = call i32 @pthread_create(ptr %thread.at, ptr null, ptr @worker, ptr %birth)
  %started.new = add i32 %started, 1
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %refused

made:
  %thread = load ptr, ptr %thread.at
  call i32 @pthread_detach(ptr %thread)
  store i32 %started.new, ptr %started.at
  br label %more

refused:
  store atomic i32 %started.new, ptr %threads.at monotonic, align 4
  br label %done

done:
  call i32 @pthread_sigmask(i32 {SETMASK}, ptr %old, ptr null)
  ret void
}
"""

_RUN = """
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()

define internal i64 @clock() {
  %time = alloca [2 x i64]
  call i32 @clock_gettime(i32 {CLOCK}, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %rest
  ret i64 %now
}

define void @pool_run(ptr %kernel, ptr %slots, i64 %tasks) {
  call i32 @pool_run_polled(ptr %kernel, ptr %slots, i64 %tasks, ptr null, ptr null)
  ret void
}

define i32 @pool_run_polled(ptr %kernel, ptr %slots, i64 %tasks, ptr %poll, ptr %data) {
  %lock = getelementptr i8, ptr @pool, i64 {LOCK}
  %forks.at = getelementptr i8, ptr @pool, i64 {FORKS}
  %shared = getelementptr i8, ptr @pool, i64 {RANGES}
  %count.at = getelementptr i8, ptr @pool, i64 {COUNT}
  %threads.at = getelementptr i8, ptr @pool, i64 {THREADS}
  %own = alloca [4 x i64]           ; the one range, where the launcher is alone
  %place = alloca i64
  %last.var = alloca i64            ; when signals were looked at; 0: never
  %turns = alloca i32
  store i64 0, ptr %place
  store i64 0, ptr %last.var
  store i32 0, ptr %turns
  %forks = load i32, ptr %forks.at
  %threads = load atomic i32, ptr %threads.at monotonic, align 4
  %several = icmp sgt i32 %threads, 1
  %many = icmp sgt i64 %tasks, 1
  br i1 %many, label %spread, label %alone

spread:
  %turned = call i64 @turn()
  br i1 %several, label %claim, label %alone

claim:
  %claim.pair = cmpxchg ptr %lock, i32 0, i32 1 acquire monotonic
  %claimed = extractvalue { i32, i1 } %claim.pair, 1
  br i1 %claimed, label %open, label %alone

alone:
  %way = phi i64 [ 1, %0 ], [ %turned, %spread ], [ %turned, %claim ]
  call void @fill(ptr %own, i64 1, i64 %tasks, i64 %way)
  br label %loop

open:
  call void @publish(ptr %kernel, ptr %slots, i64 %tasks, i32 %threads, i64 %turned)
  %many.ranges = load i64, ptr %count.at
  br label %loop

loop:
  %ranges = phi ptr [ %own, %alone ], [ %shared, %open ]
  %count = phi i64 [ 1, %alone ], [ %many.ranges, %open ]
  br label %take

take:
  %task = call i64 @take(ptr %ranges, i64 %count, i64 0, ptr %place)
  %some = icmp sge i64 %task, 0
  br i1 %some, label %run, label %out

run:
  call void %kernel(ptr %slots, i64 %task)
  %unpolled = icmp eq ptr %poll, null
  br i1 %unpolled, label %take, label %watch

watch:
  %now = call i64 @clock()
  %last = load i64, ptr %last.var
  %never = icmp eq i64 %last, 0
  br i1 %never, label %note, label %due

note:
  store i64 %now, ptr %last.var
  br label %take

due:
  %since = sub i64 %now, %last
  %early = icmp slt i64 %since, {POLL_INTERVAL}
  br i1 %early, label %take, label %ask

ask:
  %answer = call i32 %poll(ptr %data)
  %after = call i64 @clock()
  store i64 %after, ptr %last.var
  %forks.now = load i32, ptr %forks.at
  %forked = icmp ne i32 %forks.now, %forks
  %together = icmp eq ptr %ranges, %shared
  %lost = and i1 %forked, %together
  br i1 %lost, label %orphan, label %heed

orphan:
  ret i32 {FORKED}

heed:
  %go = icmp eq i32 %answer, 0
  br i1 %go, label %take, label %stop

stop:
  call void @drain(ptr %ranges, i64 %count)
  br label %out

out:
  %result = phi i32 [ 0, %take ], [ %answer, %stop ]
  %by.itself = icmp eq ptr %ranges, %own
  br i1 %by.itself, label %done, label %close

close:
  atomicrmw and ptr @pool, i64 -65537 acq_rel
  br label %join

join:
  %word = load atomic i64, ptr @pool acquire, align 8
  %inside = and i64 %word, 65535
  %busy = icmp ne i64 %inside, 0
  br i1 %busy, label %linger, label %free

linger:
  %turn = load i32, ptr %turns
  %turn.next = add i32 %turn, 1
  store i32 %turn.next, ptr %turns
  call void @linger(i32 %turn)
  br label %join

free:
  store atomic i32 0, ptr %lock release, align 4
  br label %done

done:
  ret i32 %result
}

; Opens a new epoch with these tasks, and wakes workers where too few are awake.
define internal void @publish(ptr %kernel, ptr %slots, i64 %tasks, i32 %threads, i64 %way) {
  %allowed.at = getelementptr i8, ptr @pool, i64 {ALLOWED}
  %kernel.at = getelementptr i8, ptr @pool, i64 {KERNEL}
  %slots.at = getelementptr i8, ptr @pool, i64 {SLOTS}
  %count.at = getelementptr i8, ptr @pool, i64 {COUNT}
  %ranges = getelementptr i8, ptr @pool, i64 {RANGES}
  %started.at = getelementptr i8, ptr @pool, i64 {STARTED}
  %sleepers.at = getelementptr i8, ptr @pool, i64 {SLEEPERS}
  %threads.wide = sext i32 %threads to i64
  %fewer = icmp slt i64 %tasks, %threads.wide
  %hands.wide = select i1 %fewer, i64 %tasks, i64 %threads.wide
  %hands = trunc i64 %hands.wide to i32
  %allowed = sub i32 %hands, 1
  %before = load i32, ptr %started.at
  %missing = icmp slt i32 %before, %allowed
  br i1 %missing, label %hire, label %fill

hire:
  call void @grow(i32 %allowed)
  br label %fill

fill:
  call void @mode_save()
  store ptr %kernel, ptr %kernel.at
  store ptr %slots, ptr %slots.at
  %few = icmp slt i64 %hands.wide, {MOST_RANGES}
  %count = select i1 %few, i64 %hands.wide, i64 {MOST_RANGES}
  store i64 %count, ptr %count.at
  call void @fill(ptr %ranges, i64 %count, i64 %tasks, i64 %way)
  store atomic i32 %allowed, ptr %allowed.at monotonic, align 4
  %word = load atomic i64, ptr @pool monotonic, align 8
  %epoch = lshr i64 %word, 32
  %epoch.next = add i64 %epoch, 1
  %high = shl i64 %epoch.next, 32
  %fresh = or i64 %high, 65536
  atomicrmw xchg ptr @pool, i64 %fresh seq_cst
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %started = load i32, ptr %started.at
  %awake = sub i32 %started, %sleepers
  %short = sub i32 %allowed, %awake
  %call = icmp sgt i32 %short, 0
  br i1 %call, label %rouse, label %done

rouse:
  call void @wake(i32 %short)
  br label %done

done:
  ret void
}

; To be called before the first launch, and in the child of a fork, which has no workers. A launch
; of the parent may have been under way.
define void @pool_reset(i32 %forks) {
  %lock = getelementptr i8, ptr @pool, i64 {LOCK}
  %started = getelementptr i8, ptr @pool, i64 {STARTED}
  %forks.at = getelementptr i8, ptr @pool, i64 {FORKS}
  %sleepers = getelementptr i8, ptr @pool, i64 {SLEEPERS}
  store i64 0, ptr @pool
  store i32 0, ptr %lock
  store i32 0, ptr %started
  store i32 0, ptr %sleepers
  store i32 %forks, ptr %forks.at
  call void @pool_prepare_parking()
  ret void
}
"""


def pool_ir(machine=None, futex=None):
    """Return the pool's IR for this operating system.

    machine: as `platform.machine()` says; futex: whether to park by Linux's futex rather than by a
    condition variable; None: as this machine can.
    """
    faults = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)
    values = {
        "CLOCK": time.CLOCK_MONOTONIC,
        "SETMASK": int(signal.SIG_SETMASK),
        "UNBLOCK": "\n".join(f"  call i32 @sigdelset(ptr %all, i32 {int(s)})" for s in faults),
        **{name: value for name, value in globals().items() if name.isupper() and name[0] != "_"},
    }
    text = "".join((_WORKER, system_ir(machine, futex), _GROW, _RUN))
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text
