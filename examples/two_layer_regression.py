"""Fit a noisy sine with two layers: a plain PyTorch script, run on Iskra as it is.

    python -m iskra examples/two_layer_regression.py [--steps 1000]
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Curve(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.hidden = nn.Linear(1, width)
        self.output = nn.Linear(width, 1)

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps

    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 256).unsqueeze(1)
    y = torch.sin(x) + 0.05 * torch.randn_like(x)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)

    model = Curve()
    print(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    step = 0
    while step < steps:
        for inputs, targets in loader:
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            if step % 200 == 0:
                print(f"step {step}: loss {loss.item():.4f}, lr {scheduler.get_last_lr()[0]:.5f}")

    with torch.no_grad():
        error = (model(x) - torch.sin(x)).abs().max()
    print(f"largest distance from the true curve: {error.item():.3f}")
    print("weights:", model.hidden.weight.shape, model.hidden.weight.dtype)


if __name__ == "__main__":
    main()
