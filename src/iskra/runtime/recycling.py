"""The contexts in which NumPy is to take its memory from our allocator.

Apart from `iskra.runtime.memory`, which sets the handler in them when the allocator starts, because
that is slow to import and a program without large arrays never needs it.
"""

import contextvars

waiting = []  # contexts that are to have the handler and have not
mark = contextvars.ContextVar("iskra recycling", default=None)
started = []  # what to call when another context waits, once the allocator has started


def recycle_in(context):
    """Let NumPy take the memory of arrays it makes in `context`, a `contextvars.Context`, from the
    allocator.

    It begins when the allocator starts, or at once if it has.
    """
    context.run(mark.set, context)
    waiting.append(context)
    for equip in started:
        equip()
