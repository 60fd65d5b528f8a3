"""Sequences of unequal length. Page: https://docs.pytorch.org/docs/stable/nn.html#utilities"""

from collections import namedtuple
from collections.abc import Iterable

from iskra import ops
from iskra.core import float16, float32, float64, int8, int16, int32, int64, uint8
from iskra.tensor import Tensor

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
    "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence",
]

_Fields = namedtuple("PackedSequence_", "data batch_sizes sorted_indices unsorted_indices")


class PackedSequence(_Fields):
    """Sequences laid out step by step: the first elements of all, then the second ones, ...

    Made by `pack_sequence` and `pack_padded_sequence`. `data` holds the elements, `batch_sizes` how
    many sequences are left at each step (on the CPU), `sorted_indices` the order from long to short
    in which they are laid out, `unsorted_indices` the way back; both None if they came sorted.

    Source: `torch.nn.utils.rnn.PackedSequence`.

    >>> import iskra as torch
    >>> pack = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
    >>> pack.data, pack.batch_sizes
    (tensor([1, 4, 2, 3]), tensor([2, 1, 1]))
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU; make a PackedSequence by pack_sequence or "
                "pack_padded_sequence"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """The same with `data` converted as by `Tensor.to`, the indices on its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [
            None if i is None else i.to(data.device)
            for i in (self.sorted_indices, self.unsorted_indices)
        ]
        return type(self)(data, self.batch_sizes, *indices)

    def cuda(self, *args, **kwargs):
        """The same with `data` on a GPU."""
        return self.to(*args, **kwargs) if args or kwargs else self.to("cuda")

    def cpu(self):
        """The same with `data` on the CPU."""
        return self.to("cpu")

    def double(self):
        """The same with `data` as float64."""
        return self.to(dtype=float64)

    def float(self):
        """The same with `data` as float32."""
        return self.to(dtype=float32)

    def half(self):
        """The same with `data` as float16."""
        return self.to(dtype=float16)

    def long(self):
        """The same with `data` as int64."""
        return self.to(dtype=int64)

    def int(self):
        """The same with `data` as int32."""
        return self.to(dtype=int32)

    def short(self):
        """The same with `data` as int16."""
        return self.to(dtype=int16)

    def char(self):
        """The same with `data` as int8."""
        return self.to(dtype=int8)

    def byte(self):
        """The same with `data` as uint8."""
        return self.to(dtype=uint8)

    def pin_memory(self):
        """The same with all tensors in pinned memory."""
        pinned = [
            None if t is None else t.pin_memory()
            for t in (self.data, self.sorted_indices, self.unsorted_indices)
        ]
        return type(self)(pinned[0], self.batch_sizes, *pinned[1:])

    def is_pinned(self):
        """Whether `data` lies in pinned memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self):
        """Whether `data` is on a GPU."""
        return self.data.is_cuda


def invert_permutation(permutation):
    """The permutation that undoes a permutation given as indices; None for None.

    >>> import iskra as torch
    >>> torch.nn.utils.rnn.invert_permutation(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    places = ops.arange(permutation.numel(), device=permutation.device)
    return ops.empty_like(permutation).scatter_(0, permutation, places)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack a padded batch (T, B, *), or (B, T, *) with `batch_first`, of the given lengths.

    With `enforce_sorted` the lengths must not increase; else the batch is sorted.

    Raises RuntimeError for unsorted, non-positive or too few lengths and for an empty batch.
    Source: `torch.nn.utils.rnn.pack_padded_sequence`.

    >>> import iskra as torch
    >>> padded = torch.tensor([[1, 2], [3, 0]])
    >>> torch.nn.utils.rnn.pack_padded_sequence(padded, [2, 1], batch_first=True).data
    tensor([1, 3, 2])
    """
    lengths = ops.as_tensor(lengths, dtype=int64).cpu()
    batch_dim = 0 if batch_first else 1
    order = None
    if not enforce_sorted:
        lengths, order = ops.sort(lengths, descending=True)
        order = order.to(input.device)
        input = input.index_select(batch_dim, order)
    counts = lengths.tolist()
    _check_lengths(input, counts, batch_dim)
    steps = input.transpose(0, 1) if batch_first else input
    sizes = [sum(count > step for count in counts) for step in range(counts[0])]
    data = ops.cat([steps[step, :size] for step, size in enumerate(sizes)])
    return PackedSequence(data, ops.as_tensor(sizes, dtype=int64), order, None)


def _check_lengths(input, counts, batch_dim):
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if len(counts) != input.size(batch_dim):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={input.size(batch_dim)})"
        )
    if counts[-1] <= 0 or min(counts) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(later > earlier for earlier, later in zip(counts, counts[1:], strict=False)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if counts[0] > input.size(1 - batch_dim):
        raise RuntimeError(
            f"Expected sequence lengths of at most {input.size(1 - batch_dim)}, the padded length, "
            f"but got {counts[0]}"
        )


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The padded batch (T, B, *), or (B, T, *) with `batch_first`, and the lengths.

    Raises ValueError if `total_length` is shorter than the longest sequence.
    Source: `torch.nn.utils.rnn.pad_packed_sequence`.

    >>> import iskra as torch
    >>> pack = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    >>> torch.nn.utils.rnn.pad_packed_sequence(pack, batch_first=True)
    (tensor([[1, 2],
            [3, 0]]), tensor([2, 1]))
    """
    sizes = sequence.batch_sizes.tolist()
    length = len(sizes) if total_length is None else total_length
    if length < len(sizes):
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but "
            f"got total_length={total_length} and max sequence length being {len(sizes)}"
        )
    columns = _columns(sequence.data, sizes)
    padded = _pad(columns, length, padding_value)
    lengths = ops.as_tensor([len(column) for column in columns], dtype=int64)
    back = sequence.unsorted_indices
    if back is not None:
        padded, lengths = padded.index_select(1, back), lengths[back.cpu()]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def _columns(data, sizes):
    """The sequences of packed data, longest first."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    columns = []
    for i in range(sizes[0]):
        rows = [start + i for start, size in zip(starts, sizes, strict=False) if i < size]
        columns.append(data[ops.as_tensor(rows, dtype=int64, device=data.device)])
    return columns


def _pad(sequences, length, value, left=False):
    """Sequences (L_i, *) as one tensor (length, B, *)."""
    padded = []
    for sequence in sequences:
        missing = length - sequence.size(0)
        if missing:
            shape = (missing, *sequence.shape[1:])
            fill = ops.full(shape, value, dtype=sequence.dtype, device=sequence.device)
            sequence = ops.cat([fill, sequence] if left else [sequence, fill])
        padded.append(sequence.unsqueeze(1))
    return ops.cat(padded, 1)


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences (L_i, *) padded to the longest: (T, B, *), or (B, T, *) with `batch_first`.

    Raises RuntimeError for anything not iterable, or nothing.
    Source: `torch.nn.utils.rnn.pad_sequence`.

    >>> import iskra as torch
    >>> pieces = [torch.tensor([1, 2]), torch.tensor([3])]
    >>> torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    sequences = list(sequences)
    if not sequences or not all(isinstance(s, Tensor) for s in sequences):
        raise RuntimeError(
            "pad_sequence: received an empty list of sequences" if not sequences
            else "pad_sequence: Expected a sequence of tensors"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"pad_sequence: padding_side must be 'left' or 'right', not {padding_side!r}"
        )
    length = max(s.size(0) for s in sequences)
    padded = _pad(sequences, length, padding_value, padding_side == "left")
    return padded.transpose(0, 1).contiguous() if batch_first else padded


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences of a padded batch, as a list.

    Source: `torch.nn.utils.rnn.unpad_sequence`.

    >>> import iskra as torch
    >>> padded = torch.tensor([[1, 2], [3, 0]])
    >>> torch.nn.utils.rnn.unpad_sequence(padded, torch.tensor([2, 1]), batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(length)] for row, length in zip(rows, lengths, strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of sequences (L_i, *); longest first unless `enforce_sorted` is false.

    Source: `torch.nn.utils.rnn.pack_sequence`.

    >>> import iskra as torch
    >>> torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).data
    tensor([1, 3, 2])
    """
    lengths = [sequence.size(0) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences that were packed, as a list, in their first order.

    Source: `torch.nn.utils.rnn.unpack_sequence`.

    >>> import iskra as torch
    >>> pack = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    >>> torch.nn.utils.rnn.unpack_sequence(pack)
    [tensor([1, 2]), tensor([3])]
    """
    columns = _columns(packed_sequences.data, packed_sequences.batch_sizes.tolist())
    back = packed_sequences.unsorted_indices
    return columns if back is None else [columns[i] for i in back.tolist()]
