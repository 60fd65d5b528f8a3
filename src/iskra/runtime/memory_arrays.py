"""The part of the allocator's machine code that makes ndarrays, as a template of LLVM IR.

`iskra_memory_empty` is a builtin function of Python, ``empty(shape, dtype)``: it takes a block from
the allocator, has NumPy make an array around it, and makes the array its owner by writing two
fields that NumPy's C interface does not set: the flag OWNDATA and the memory handler.
"""

# Where NumPy keeps what is read here; `iskra.runtime.memory` checks it before it trusts it.
OFFSETS = {
    "array_flags": 64, "array_handler": 88,
    "dtype_number": 28, "dtype_flags": 32, "dtype_size": 40,
}

# The words of `prepare`'s table: addresses of Python and NumPy objects and functions.
TABLE = (
    "new_from_descr", "array_type", "descr_type", "tuple_type", "handler", "numpy_empty",
    "small_malloc", "small_realloc", "small_free",
)

ARRAYS = """
; What Python calls: a METH_FASTCALL function `empty(shape, dtype)`, settings, counters.

$table
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyTuple_Size(ptr)
declare i64 @PyLong_AsSsize_t(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyErr_NoMemory()
declare void @PyErr_Clear()
declare void @Py_IncRef(ptr)
declare {i64, i1} @llvm.umul.with.overflow.i64(i64, i64)

define internal i1 @is_a(ptr %object, ptr %type_place) {
  %type = load ptr, ptr %type_place
  %own_place = getelementptr i8, ptr %object, i64 8
  %own = load ptr, ptr %own_place
  %same = icmp eq ptr %own, %type
  br i1 %same, label %yes, label %derived
yes:
  ret i1 true
derived:
  %answer = call i32 @PyType_IsSubtype(ptr %own, ptr %type)
  %is = icmp ne i32 %answer, 0
  ret i1 %is
}

; The bytes of one element, or 0 for a dtype that is not plain data: those are left to NumPy.
define internal i64 @item_size(ptr %dtype) {
  %flags_place = getelementptr i8, ptr %dtype, i64 $dtype_flags
  %flags = load i64, ptr %flags_place
  %holds_objects = and i64 %flags, 9      ; NPY_ITEM_REFCOUNT, NPY_NEEDS_INIT
  %number_place = getelementptr i8, ptr %dtype, i64 $dtype_number
  %number = load i32, ptr %number_place
  %is_void = icmp eq i32 %number, 20      ; NPY_VOID: may be a dtype with dimensions of its own
  %size_place = getelementptr i8, ptr %dtype, i64 $dtype_size
  %size = load i64, ptr %size_place
  %is_odd = icmp ne i64 %holds_objects, 0
  %is_other = or i1 %is_odd, %is_void
  %result = select i1 %is_other, i64 0, i64 %size
  ret i64 %result
}

; Store the dimensions; return the bytes they need, -1 for a shape that is left to NumPy.
define internal i64 @measure(ptr %shape, i64 %rank, i64 %item, ptr %dims) {
entry:
  %scalar = icmp eq i64 %rank, 0
  br i1 %scalar, label %done, label %each
each:
  %index = phi i64 [0, %entry], [%next, %sound]
  %bytes = phi i64 [%item, %entry], [%more, %sound]
  %number = call ptr @PyTuple_GetItem(ptr %shape, i64 %index)
  %dim = call i64 @PyLong_AsSsize_t(ptr %number)
  %negative = icmp slt i64 %dim, 0
  br i1 %negative, label %wrong, label %multiply
multiply:
  %place = getelementptr i64, ptr %dims, i64 %index
  store i64 %dim, ptr %place
  %product = call {i64, i1} @llvm.umul.with.overflow.i64(i64 %bytes, i64 %dim)
  %more = extractvalue {i64, i1} %product, 0
  %overflow = extractvalue {i64, i1} %product, 1
  %huge = icmp slt i64 %more, 0
  %too_much = or i1 %overflow, %huge
  br i1 %too_much, label %wrong, label %sound
sound:
  %next = add i64 %index, 1
  %again = icmp ult i64 %next, %rank
  br i1 %again, label %each, label %done
wrong:
  call void @PyErr_Clear()
  ret i64 -1
done:
  %total = phi i64 [%item, %entry], [%more, %sound]
  ret i64 %total
}

define internal ptr @new_array(ptr %dtype, i64 %rank, ptr %dims, ptr %data) {
  call void @Py_IncRef(ptr %dtype)
  %function = load ptr, ptr @new_from_descr
  %type = load ptr, ptr @array_type
  %nd = trunc i64 %rank to i32
  ; Where NumPy is to allocate, any flag would ask for Fortran's order.
  %fresh = icmp eq ptr %data, null
  %flags = select i1 %fresh, i32 0, i32 $behaved
  %array = call ptr %function(ptr %type, ptr %dtype, i32 %nd, ptr %dims, ptr null, ptr %data,
                              i32 %flags, ptr null)
  ret ptr %array
}

; Make the array the owner of its block: NumPy will free it through the handler.
define internal void @hand_over(ptr %array) {
  %flags_place = getelementptr i8, ptr %array, i64 $array_flags
  %flags = load i32, ptr %flags_place
  %owner = or i32 %flags, 4               ; NPY_ARRAY_OWNDATA
  store i32 %owner, ptr %flags_place
  %capsule = load ptr, ptr @handler
  call void @Py_IncRef(ptr %capsule)
  %handler_place = getelementptr i8, ptr %array, i64 $array_handler
  store ptr %capsule, ptr %handler_place
  ret void
}

define ptr @iskra_memory_empty(ptr %self, ptr %args, i64 %count) {
  %dims = alloca [64 x i64]
  %is_pair = icmp eq i64 %count, 2
  br i1 %is_pair, label %types, label %numpy
types:
  %shape = load ptr, ptr %args
  %dtype_place = getelementptr ptr, ptr %args, i64 1
  %dtype = load ptr, ptr %dtype_place
  %is_dtype = call i1 @is_a(ptr %dtype, ptr @descr_type)
  %is_tuple = call i1 @is_a(ptr %shape, ptr @tuple_type)
  %typed = and i1 %is_dtype, %is_tuple
  br i1 %typed, label %look, label %numpy
look:
  %rank = call i64 @PyTuple_Size(ptr %shape)
  %rank_fits = icmp ule i64 %rank, 64
  %item = call i64 @item_size(ptr %dtype)
  %plain = icmp sgt i64 %item, 0
  %usual = and i1 %rank_fits, %plain
  br i1 %usual, label %sizes, label %numpy
sizes:
  %bytes = call i64 @measure(ptr %shape, i64 %rank, i64 %item, ptr %dims)
  %odd = icmp slt i64 %bytes, 0
  br i1 %odd, label %numpy, label %choose
choose:
  %is_small = icmp ult i64 %bytes, $smallest
  br i1 %is_small, label %plain_array, label %ours
plain_array:
  %small_array = call ptr @new_array(ptr %dtype, i64 %rank, ptr %dims, ptr null)
  ret ptr %small_array
ours:
  %block = call ptr @allocate(i64 %bytes)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %exhausted, label %wrap
exhausted:
  %raised = call ptr @PyErr_NoMemory()
  ret ptr null
wrap:
  %array = call ptr @new_array(ptr %dtype, i64 %rank, ptr %dims, ptr %block)
  %refused = icmp eq ptr %array, null
  br i1 %refused, label %undo, label %own
undo:
  call void @release(ptr %block)
  ret ptr null
own:
  call void @hand_over(ptr %array)
  ret ptr %array
numpy:
  %numpy_function = load ptr, ptr @numpy_empty
  %result = call ptr @PyObject_Vectorcall(ptr %numpy_function, ptr %args, i64 %count, ptr null)
  ret ptr %result
}

define void @iskra_memory_prepare(ptr %words) {
$prepare
  ret void
}

define void @iskra_memory_report(ptr %words) {
$report
  ret void
}

define void @iskra_memory_bound(i64 %floor, i64 %limit) {
  store i64 %floor, ptr @floor
  store i64 %limit, ptr @limit
  ret void
}

define void @iskra_memory_restart_peak() {
  %now = load i64, ptr @allocated
  store i64 %now, ptr @peak
  ret void
}
"""
