"""What the thread pool's machine code asks of the processor and of the system, as LLVM IR.

Of the processor: a breath while waiting, and the modes of denormals and rounding, to be saved and
adopted. Of the system: to park a thread and to wake it.
"""

import platform
import sys

# The number of Linux's futex call.
_FUTEX_CALL = {"x86_64": 202, "aarch64": 98, "riscv64": 98}

_X86_MODE = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @relax() {
  call void @llvm.x86.sse2.pause()
  ret void
}
define internal void @mode_save() {
  call void @llvm.x86.sse.stmxcsr(ptr getelementptr (i8, ptr @pool, i64 {MODE}))
  ret void
}
define internal void @mode_adopt() {
  call void @llvm.x86.sse.ldmxcsr(ptr getelementptr (i8, ptr @pool, i64 {MODE}))
  ret void
}
"""

_ARM_MODE = """
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal void @relax() {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
define internal void @mode_save() {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  store i64 %mode, ptr getelementptr (i8, ptr @pool, i64 {MODE})
  ret void
}
define internal void @mode_adopt() {
  %mode = load i64, ptr getelementptr (i8, ptr @pool, i64 {MODE})
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
"""

_ANY_MODE = """
define internal void @relax() {
  ret void
}
define internal void @mode_save() {
  ret void
}
define internal void @mode_adopt() {
  ret void
}
"""

# Parks until the epoch is no longer %seen, or returns early; wakes at least %many of the parked.
_FUTEX = """
declare i64 @syscall(i64, ...)
define internal void @pool_prepare_parking() {
  ret void
}
define internal void @park(i32 %seen) {
  %epoch = getelementptr i8, ptr @pool, i64 4
  call i64 (i64, ...) @syscall(i64 {CALL}, ptr %epoch, i32 128, i32 %seen, ptr null)
  ret void
}
define internal void @wake(i32 %many) {
  %epoch = getelementptr i8, ptr @pool, i64 4
  call i64 (i64, ...) @syscall(i64 {CALL}, ptr %epoch, i32 129, i32 %many)
  ret void
}
"""

_CONDITION = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
define internal void @pool_prepare_parking() {
  %mutex = getelementptr i8, ptr @pool, i64 {MUTEX}
  %condition = getelementptr i8, ptr @pool, i64 {CONDITION}
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}
define internal void @park(i32 %seen) {
  %mutex = getelementptr i8, ptr @pool, i64 {MUTEX}
  %condition = getelementptr i8, ptr @pool, i64 {CONDITION}
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %epoch = call i32 @pool_epoch()
  %same = icmp eq i32 %epoch, %seen
  br i1 %same, label %wait, label %leave
wait:
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
leave:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @wake(i32 %many) {
  %mutex = getelementptr i8, ptr @pool, i64 {MUTEX}
  %condition = getelementptr i8, ptr @pool, i64 {CONDITION}
  call i32 @pthread_mutex_lock(ptr %mutex)
  call i32 @pthread_cond_broadcast(ptr %condition)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
"""


def system_ir(machine=None, futex=None):
    """Return the IR for this machine; places in the pool's state are still to be filled in.

    machine, futex: see `iskra.runtime.pool_ir.pool_ir`.
    """
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(
        machine or platform.machine(), machine or platform.machine())
    if futex is None:
        futex = sys.platform == "linux" and machine in _FUTEX_CALL
    mode = {"x86_64": _X86_MODE, "aarch64": _ARM_MODE}.get(machine, _ANY_MODE)
    parking = _FUTEX.replace("{CALL}", str(_FUTEX_CALL[machine])) if futex else _CONDITION
    return mode + parking
