"""Batches from process to process: the line, the shared memory, and that nothing is left over."""

import gc
import os
import pickle

import numpy as np
import pytest
from data.samples import Numbers, as_it_is

import iskra
from iskra.data import handover
from iskra.data.channel import CAN_SEND_FILES, Channel
from iskra.data.handover import Receiver, Sender, dumps
from iskra.utils.data import DataLoader

needs_files = pytest.mark.skipif(not CAN_SEND_FILES, reason="no files over sockets here")


def carry(sender, receiver, batch):
    """What the loader gets, and how it travelled."""
    how, data, file = sender.pack(dumps(batch))
    sent = None if file is None else os.dup(file)
    if file is not None:
        os.close(file)
    return receiver.unpack(pickle.loads(pickle.dumps(how)), data, sent), how


def give_back(sender, receiver):
    gc.collect()
    sender.take_back(*receiver.returned())


@pytest.fixture
def ends():
    return Sender(), Receiver(4)


# What arrives


@pytest.mark.parametrize("count", [0, 1, 3, 30000])
@pytest.mark.parametrize("dtype", ["float32", "bool", "int64", "complex64", "bfloat16", "float16"])
def test_tensors_of_all_kinds_and_sizes(ends, dtype, count):
    source = (iskra.arange(count) % 7).to(getattr(iskra, dtype))
    found, _ = carry(*ends, {"x": source})
    x = found["x"]
    assert x.dtype is source.dtype and x.shape == source.shape
    assert x.float().tolist() == source.float().tolist() if dtype != "complex64" else (
        x.tolist() == source.tolist())
    x.fill_(1)  # it is writable, and no memory of the worker's
    assert count == 0 or source.float().tolist() != x.float().tolist() or count == 1


@pytest.mark.parametrize("make", [
    lambda: iskra.tensor(2.5),
    lambda: iskra.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
    lambda: iskra.arange(40000).reshape(200, 200).T,
    lambda: iskra.arange(40000)[::3],
    lambda: iskra.ones(1).expand(30000),
    lambda: iskra.empty(0, 3),
])
def test_shapes_and_strides(ends, make):
    source = make()
    found, _ = carry(*ends, source)
    assert found.shape == source.shape and found.tolist() == source.tolist()
    if source.is_contiguous() or source.T.is_contiguous() and source.ndim == 2:
        assert found.stride() == source.stride()


def test_gradients_and_parameters(ends):
    leaf = iskra.ones(2, requires_grad=True)
    parameter = iskra.nn.Parameter(iskra.ones(20000), requires_grad=False)
    (x, p), _ = carry(*ends, (leaf, parameter))
    assert x.requires_grad and x.is_leaf
    assert type(p) is iskra.nn.Parameter and not p.requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        dumps(leaf * 2)


def test_one_tensor_twice_stays_one(ends):
    x = iskra.ones(20000)
    (a, b), _ = carry(*ends, (x, x))
    assert a is b


def test_everything_else_is_pickled(ends):
    batch = {"a": [1, "b", None, b"x"], "n": np.arange(30000), "big": "x" * 100000}
    found, how = carry(*ends, batch)
    assert found["a"] == batch["a"] and found["big"] == batch["big"]
    assert (found["n"] == batch["n"]).all() and found["n"].flags.writeable
    assert (how[1] is not None) == CAN_SEND_FILES


def test_small_batches_go_with_the_message(ends):
    found, how = carry(*ends, [iskra.ones(300), np.ones(3)])
    assert how[1] is None and found[0].tolist() == [1.0] * 300
    found[1][0] = 2.0


# Shared memory is used again


@needs_files
def test_segments_are_used_again(ends):
    numbers = []
    for k in range(10):
        x, how = carry(*ends, iskra.full((20000,), float(k)))
        assert x[0] == k == x[-1]
        numbers.append(how[1][0])
        del x
        give_back(*ends)
    assert set(numbers) == {0}


@needs_files
def test_a_segment_waits_for_the_last_user_of_its_batch(ends):
    sender, receiver = ends
    batch, _ = carry(*ends, iskra.full((2, 20000), 1.0))
    users = [batch[1], batch[0].numpy()[5:]]
    del batch
    while users:
        give_back(*ends)
        assert 0 not in sender._free
        carry(*ends, iskra.full((2, 20000), 2.0))  # would write over it
        assert (users[-1] == 1).all()
        users.pop()
    give_back(*ends)
    assert 0 in sender._free


@needs_files
def test_segments_are_never_more_than_in_use_at_once(ends):
    sender, receiver = ends
    for k in range(40):
        x, _ = carry(*ends, iskra.full((20000 + 1500 * (k % 20),), float(k)))
        assert (x == k).all()
        del x
        give_back(*ends)
    assert len(receiver._mapped) == 1 and len(sender._free) == 1


@needs_files
def test_a_program_that_keeps_its_batches_gets_copies(ends):
    sender, receiver = ends
    kept = [carry(*ends, iskra.full((20000,), float(k)))[0] for k in range(12)]
    give_back(*ends)
    assert len(receiver._leases) == 4 and len(receiver._mapped) <= 5 + 8
    for k in range(12, 16):
        kept.append(carry(*ends, iskra.full((20000,), float(k)))[0])
        give_back(*ends)
    assert all((x == k).all() for k, x in enumerate(kept))


@needs_files
def test_a_child_process_keeps_what_it_sees(ends):
    sender, receiver = ends
    x, how = carry(*ends, iskra.full((20000,), 1.0))
    go_read, go = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        os.read(go_read, 1)
        os._exit(0 if (x == 1).all() else 1)
    os.close(go_read)
    del x
    give_back(*ends)
    for _ in range(3):  # would write over what the child reads
        carry(*ends, iskra.full((20000,), 2.0))
        give_back(*ends)
    os.close(go)
    assert os.waitpid(child, 0)[1] == 0
    assert how[1][0] not in receiver._mapped and how[1][0] not in sender._free


@needs_files
def test_batches_outlive_their_loader():
    loader = DataLoader(Numbers(6, lambda i: iskra.full((20000,), float(i))), batch_size=None,
                        num_workers=2)
    kept = list(loader)
    del loader
    gc.collect()
    assert all((x == i).all() for i, x in enumerate(kept))


@needs_files
def test_nothing_has_a_name():
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    iterator = iter(DataLoader(Numbers(9, lambda i: iskra.ones(20000)), num_workers=2))
    next(iterator)
    if before or os.path.isdir("/dev/shm"):
        assert set(os.listdir("/dev/shm")) <= before


@needs_files
def test_without_files_left_batches_go_with_the_message(ends, monkeypatch):
    def none_left(size):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(handover, "_anonymous_file", none_left)
    found, how = carry(*ends, iskra.full((20000,), 3.0))
    assert how[1] is None and (found == 3).all()


@needs_files
def test_files_without_memfd(ends, monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    found, how = carry(*ends, iskra.full((20000,), 3.0))
    assert how[1] is not None and (found == 3).all()


def test_where_files_cannot_be_sent_everything_goes_with_the_message(monkeypatch):
    monkeypatch.setattr(handover, "CAN_SEND_FILES", False)
    loader = DataLoader(Numbers(4, lambda i: iskra.full((300000,), float(i))), batch_size=None,
                        num_workers=2, collate_fn=as_it_is, timeout=30)
    assert [x[-1].item() for x in loader] == [0, 1, 2, 3]


# The line


@pytest.fixture
def line():
    ours, sock = Channel.pair()
    theirs = Channel(sock)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(line):
    ours, theirs = line
    assert ours.receive() is None
    for message in (b"", b"a", b"b" * 100000, b"c"):
        theirs.sock.setblocking(False)
        theirs.send(message)
        found = None
        while found is None:
            theirs.flush()
            found = ours.receive()
        assert found == (message, None)


def test_what_does_not_fit_waits(line):
    ours, theirs = line
    ours.send(b"x" * 10_000_000)
    ours.send(b"y")
    assert ours.is_sending
    theirs.sock.setblocking(False)
    found = []
    while len(found) < 2:
        message = theirs.receive()
        if message is None:
            ours.flush()
        else:
            found.append(len(message[0]))
    assert found == [10_000_000, 1] and not ours.is_sending


@needs_files
def test_files_come_with_their_message(line):
    ours, theirs = line
    pairs = [os.pipe() for _ in range(2)]
    theirs.send(b"none")
    for k, (read, _) in enumerate(pairs):
        theirs.send(b"%d" % k, read)
    assert ours.receive() == (b"none", None)
    for k, (read, write) in enumerate(pairs):
        message, file = ours.receive()
        os.write(write, b"%d" % k)
        assert message == b"%d" % k == os.read(file, 9)
        for descriptor in (file, read, write):
            os.close(descriptor)


@needs_files
def test_files_of_messages_not_read_are_closed():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    ours, sock = Channel.pair()
    theirs = Channel(sock)
    read, write = os.pipe()
    for _ in range(3):
        theirs.send(b"", read)
    ours.receive()
    os.close(read)
    os.close(write)
    theirs.close()
    ours.close()
    if before:
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_the_end_of_the_line(line):
    ours, theirs = line
    theirs.send(b"last")
    theirs.close()
    assert ours.receive() == (b"last", None)
    for _ in range(2):
        with pytest.raises(EOFError):
            ours.receive()
    ours.send(b"nobody there")
    assert not ours.is_sending
