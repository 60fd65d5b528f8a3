"""Adaptive softmax.

Page: https://docs.pytorch.org/docs/stable/nn.html#non-linear-activations-other
"""

from collections import namedtuple
from itertools import pairwise

from iskra.nn import functional as F
from iskra.nn.containers import ModuleList, Sequential
from iskra.nn.module import Module
from iskra.nn.modules.linear import Linear
from iskra.ops import cat

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax over many classes of uneven frequency (Grave et al., 2017).

    Classes are sorted from frequent to rare. Those below cutoffs[0] are the shortlist, the others
    form clusters, each behind a projection that is `div_value` times narrower than the one before.

    Shapes: (N, in_features) or (in_features), target (N) or () -> (output (N) or (), loss ()), the
    output being the log-probabilities of the targets.

    Raises ValueError unless the cutoffs are increasing and between 1 and n_classes - 1.
    Source: `torch.nn.AdaptiveLogSoftmaxWithLoss`.

    >>> import iskra as torch
    >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10], div_value=2.0)
    >>> layer(torch.ones(4, 8), torch.tensor([0, 6, 12, 19])).output.shape
    iskra.Size([4])
    """

    def __init__(
        self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None,
        dtype=None,
    ):
        super().__init__()
        cutoffs = list(cutoffs)
        _check_cutoffs(cutoffs, n_classes)
        where = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **where)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **where),
                    Linear(width, high - low, bias=False, **where),
                )
            )

    def reset_parameters(self):
        """Draw all weights again."""
        self.head.reset_parameters()
        for narrow, classify in self.tail:
            narrow.reset_parameters()
            classify.reset_parameters()

    def forward(self, input_, target_):
        _check_target(input_, target_)
        batched = target_.dim() > 0
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)
        self._check_range(target)
        in_head, from_tail = target, input.new_zeros(target.size(0))
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().reshape(-1)
            if rows.numel():
                scores = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
                column = (target.index_select(0, rows) - low).unsqueeze(1)
                from_tail = from_tail.index_copy(0, rows, scores.gather(1, column).squeeze(1))
                in_head = in_head.index_fill(0, rows, self.shortlist_size + i)
        head = F.log_softmax(self.head(input), dim=1)
        output = from_tail + head.gather(1, in_head.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _check_range(self, target):
        if target.numel() and not (0 <= target.min() and target.max() < self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )

    def _get_full_log_prob(self, input, head_output):
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(tail(input), dim=1) + cluster)
        return cat(parts, dim=1)

    def log_prob(self, input):
        """The log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable class of each sample: (N, in_features) -> (N)."""
        head_output = self.head(input)
        best = head_output.argmax(dim=1)
        rare = best >= self.shortlist_size
        if not rare.any():
            return best
        if rare.all():
            return self._get_full_log_prob(input, head_output).argmax(dim=1)
        best[rare] = self._get_full_log_prob(input[rare], head_output[rare]).argmax(dim=1)
        return best


def _check_cutoffs(cutoffs, n_classes):
    if not cutoffs:
        raise ValueError("cutoffs should be a sequence of length larger than 0")
    increasing = all(low < high for low, high in pairwise(cutoffs))
    whole = all(int(c) == c for c in cutoffs)
    if not (increasing and whole and 0 < cutoffs[0] and cutoffs[-1] <= n_classes - 1):
        raise ValueError(
            "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
            "order, where each value is between 1 and n_classes-1; "
            f"seen: {cutoffs}, n_classes={n_classes}"
        )


def _check_target(input, target):
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input.dim() != target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found "
            f"inputs with size {input.size()}"
        )
    if target.dim() == 1 and input.size(0) != target.size(0):
        raise RuntimeError("Input and target should have the same size in the batch dimension.")
