"""Warnings name the line of the program that led to them, called directly or by a module."""

import warnings

import pytest

import iskra as torch
from iskra import nn

F = nn.functional


def attend():
    x = torch.ones(2, 1, 4)
    ahead = torch.ones(2, 2, dtype=torch.bool).triu(1)
    return nn.MultiheadAttention(4, 2)(
        x, x, x, key_padding_mask=torch.zeros(1, 2), attn_mask=ahead)


CALLS = {
    "kl_div": lambda: F.kl_div(torch.zeros(2), torch.ones(2)),
    "KLDivLoss": lambda: nn.KLDivLoss()(torch.zeros(2), torch.ones(2)),
    "dropout2d": lambda: F.dropout2d(torch.ones(2, 3, 4)),
    "Dropout2d": lambda: nn.Dropout2d()(torch.ones(2, 3, 4)),
    "gumbel_softmax": lambda: F.gumbel_softmax(torch.ones(2), eps=1e-3),
    "softmax": lambda: F.softmax(torch.ones(2)),
    "Softmax": lambda: nn.Softmax()(torch.ones(2)),
    "mse_loss": lambda: F.mse_loss(torch.ones(2, 1), torch.ones(2)),
    "MSELoss": lambda: nn.MSELoss()(torch.ones(2, 1), torch.ones(2)),
    "masks": attend,
    "uint8": lambda: torch.ones(2)[torch.tensor([1, 0], dtype=torch.uint8)],
    "assigned by uint8": lambda: torch.ones(2).__setitem__(
        torch.tensor([1, 0], dtype=torch.uint8), 1.0),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_line_of_the_program_is_named(name):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        CALLS[name]()
    assert [warning.filename for warning in seen] == [__file__]
