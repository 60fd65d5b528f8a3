"""SparseAdam: Adam for sparse gradients, of which there are none here."""

from iskra.optim.checks import check_betas
from iskra.optim.optimizer import Optimizer
from iskra.tensor import Tensor


class SparseAdam(Optimizer):
    """Adam that touches only those rows that a sparse gradient holds.

    Gradients here are always dense, `torch.nn.Embedding`'s too, so a step that finds a gradient
    raises RuntimeError, as it does in PyTorch for a dense one: use `Adam`. The constructor checks
    its options, with ValueError, so that a program can build its optimizers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html

    >>> import iskra as torch
    >>> torch.optim.SparseAdam([torch.nn.Parameter(torch.ones(1))], lr=0.5).param_groups[0]["lr"]
    0.5
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def step(self, closure=None):
        """Raise RuntimeError if any parameter has a gradient; return what `closure` returned.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SparseAdam([torch.nn.Parameter(torch.ones(1))])
        >>> optimizer.step(lambda: "the loss")
        'the loss'
        """
        loss = self._closure_loss(closure)
        if any(p.grad is not None for group in self.param_groups for p in group["params"]):
            raise RuntimeError(
                "SparseAdam does not support dense gradients, and gradients here are always dense; "
                "please use Adam instead"
            )
        return loss
