"""A line between a loader and one of its workers: messages of bytes, and files handed over.

Each worker has a line of its own, so there is no lock that a killed worker could take along, and
the end of a worker shows at once as the end of its line.
"""

import array
import os
import socket
import struct
import weakref
from collections import deque

CAN_SEND_FILES = hasattr(socket, "send_fds") and os.name == "posix"
_HEADER = struct.Struct("<QB")  # the length of the message, and whether a file comes with it
_CHUNK = 1 << 16
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

_ours = weakref.WeakSet()  # the loaders' ends of all lines in this process


class Channel:
    """One end of a line. The loader's end never waits, the worker's a few seconds."""

    def __init__(self, sock):
        self.sock = sock
        self._outbox = deque()  # (bytes, file descriptor or None) not yet sent
        self._inbox = bytearray()
        self._files = deque()

    @classmethod
    def pair(cls):
        """``(the loader's end, the worker's socket)``."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        channel = cls(ours)
        _ours.add(channel)
        return channel, theirs

    def fileno(self):
        """The descriptor of the socket, for waiting on several."""
        return self.sock.fileno()

    def send(self, message, file=None):
        """Send a message, or keep what does not fit into the line now for the next `flush`."""
        header = _HEADER.pack(len(message), file is not None)
        self._outbox.append((header + message, file))
        self.flush()

    def flush(self):
        """Send what is waiting, as far as the line takes it. A cut line is noticed on reading."""
        try:
            while self._outbox:
                data, file = self._outbox[0]
                if file is None:
                    sent = self.sock.send(data)
                else:
                    sent = socket.send_fds(self.sock, [data], [file])
                if sent == len(data):
                    self._outbox.popleft()
                else:
                    self._outbox[0] = (memoryview(data)[sent:], None)
        except (BlockingIOError, TimeoutError):
            pass
        except ConnectionError:
            self._outbox.clear()

    @property
    def is_sending(self):
        """Whether something is still to be sent."""
        return bool(self._outbox)

    def receive(self):
        """The next message and its file descriptor or None; None if there is none yet.

        Raises EOFError at the end of the line.
        """
        while True:
            message = self._next()
            if message is not None:
                return message
            try:
                data, files = self._read()
            except (BlockingIOError, TimeoutError):
                return None
            except ConnectionError:
                data, files = b"", ()
            if not data:
                raise EOFError("the other process is gone")
            self._inbox += data
            self._files.extend(files)

    def _read(self):
        if not CAN_SEND_FILES:
            return self.sock.recv(_CHUNK), ()
        size = array.array("i").itemsize
        data, ancillary, _, _ = self.sock.recvmsg(_CHUNK, socket.CMSG_LEN(16 * size), _FLAGS)
        files = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(content[: len(content) - len(content) % size])
        return data, files

    def _next(self):
        """Take a whole message out of what has been read, if there is one."""
        if len(self._inbox) < _HEADER.size:
            return None
        length, has_file = _HEADER.unpack_from(self._inbox)
        stop = _HEADER.size + length
        if len(self._inbox) < stop:
            return None
        if has_file and not self._files:
            raise OSError("DataLoader: too many open files to take over a batch from a worker")
        with memoryview(self._inbox) as view:
            message = bytes(view[_HEADER.size : stop])
        del self._inbox[:stop]
        return message, self._files.popleft() if has_file else None

    def close(self):
        """End the line: the other side reads EOF."""
        self.sock.close()
        while self._files:
            os.close(self._files.popleft())


def _close_in_child():
    # A forked process must not hold the loader's ends, or workers would outlive their loader.
    for channel in list(_ours):
        channel.sock.close()
    _ours.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
