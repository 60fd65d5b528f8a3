"""Learn to read handwriting: a small convolutional network on 1,797 real 8×8 digits.

    python examples/digits.py [--epochs 12] [--out runs/digits]

Trains on four fifths, tests on the fifth it never saw, saves a checkpoint, proves that the loaded
one reads the same, and draws the loss and the digits it misread. Change the first import to
`import torch` and it runs on PyTorch, to the same random numbers.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import iskra as torch

DATA = Path(__file__).parent / "data" / "digits.csv.gz"
GOAL = 0.97
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Digits(torch.utils.data.Dataset):
    """The images as float tensors of shape [1, 8, 8] in 0..1, each with its digit."""

    def __init__(self, path=DATA):
        table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float32))
        self.images = table[:, :64].reshape(-1, 1, 8, 8) / 16
        self.digits = table[:, 64].long()

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        return self.images[index], self.digits[index]


class Reader(torch.nn.Module):
    """Two convolutions to find strokes, two linear layers to tell which digit they make."""

    def __init__(self):
        super().__init__()
        self.strokes = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, kernel_size=3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, kernel_size=3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        )
        self.digit = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Dropout(0.25),
            torch.nn.Linear(32 * 4 * 4, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 10),
        )

    def forward(self, images):
        return self.digit(self.strokes(images))


def main():
    arguments = parse_arguments()
    start = time.perf_counter()
    torch.manual_seed(0)
    training, unseen = torch.utils.data.random_split(Digits(), [0.8, 0.2])
    model = Reader()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(training):,} digits "
          f"to learn from, {len(unseen)} to be tested on")

    losses, accuracies = train(model, training, unseen, arguments.epochs)
    seconds = time.perf_counter() - start
    accuracy = accuracies[-1]
    print(f"reads {accuracy:.1%} of the unseen digits right, after {seconds:.0f} s")

    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "digits.pt"
    save_and_load(model, unseen, checkpoint, accuracy)
    print(f"{checkpoint}: saved; loaded again, it reads all {len(unseen)} the same")

    picture = arguments.out / "digits.png"
    draw(picture, losses, accuracies, misread(model, unseen), len(unseen))
    print(f"{picture}: the loss, and what was misread")
    return 0 if accuracy >= GOAL else f"below the {GOAL:.0%} that this network should reach"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    return parser.parse_args()


def train(model, training, unseen, epochs):
    """Trains in place; returns the loss of every step and the accuracy after every epoch."""
    loader = torch.utils.data.DataLoader(training, batch_size=32, shuffle=True)
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses, accuracies = [], []
    for epoch in range(1, epochs + 1):
        title = f"epoch {epoch:2}/{epochs}"
        with tqdm(total=len(loader), desc=title, bar_format=BAR, ncols=88) as bar:
            model.train()
            for images, digits in loader:
                optimizer.zero_grad()
                loss = loss_function(model(images), digits)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                bar.set_postfix_str(status(losses[-len(loader):], accuracies), refresh=False)
                bar.update()
            accuracies.append(accuracy_on(model, unseen))
            bar.set_postfix_str(status(losses[-len(loader):], accuracies))
        schedule.step()
    return losses, accuracies


def status(losses, accuracies):
    """What the bar says: the mean loss, and the accuracy once it has been measured."""
    return f"loss {np.mean(losses):.3f}" + "".join(f", accuracy {a:.1%}" for a in accuracies[-1:])


def read(model, digits):
    """The model's probabilities [n, 10], the images [n, 1, 8, 8] and the true digits [n]."""
    images, truth = next(iter(torch.utils.data.DataLoader(digits, batch_size=len(digits))))
    model.eval()
    with torch.no_grad():
        return model(images).softmax(dim=1), images, truth


def accuracy_on(model, digits):
    chances, _, truth = read(model, digits)
    return (chances.argmax(dim=1) == truth).float().mean().item()


def save_and_load(model, unseen, path, accuracy):
    """Writes a checkpoint, reads it into a new model, and checks that nothing has changed."""
    torch.save({"model": model.state_dict(), "accuracy": accuracy}, path)
    checkpoint = torch.load(path)
    twin = Reader()
    twin.load_state_dict(checkpoint["model"])
    assert checkpoint["accuracy"] == accuracy
    assert torch.equal(read(twin, unseen)[0], read(model, unseen)[0])


def misread(model, unseen):
    """(image, truth, what was read, how surely) of every misread digit, the surest first."""
    chances, images, truth = read(model, unseen)
    surety, answer = chances.max(dim=1)
    wrong = (answer != truth).nonzero().flatten().tolist()
    wrong.sort(key=lambda i: -surety[i].item())
    return [(images[i, 0].numpy(), truth[i].item(), answer[i].item(), surety[i].item())
            for i in wrong]


def draw(path, losses, accuracies, mistakes, tested):
    """One picture: loss and accuracy above, the misread digits below."""
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot

    ink, spark, sea, paper = "#22262e", "#e4572e", "#2a7f9e", "#fbfaf7"
    pyplot.rcParams.update({
        "font.size": 10, "text.color": ink, "axes.edgecolor": "#b9b5aa", "axes.labelcolor": ink,
        "xtick.color": ink, "ytick.color": ink, "axes.spines.top": False,
        "axes.spines.right": False, "figure.facecolor": paper, "axes.facecolor": paper,
    })
    columns = max(6, min(10, len(mistakes)))
    figure = pyplot.figure(figsize=(10, 6.4), dpi=150)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.5, 1), hspace=0.5, left=0.075, right=0.925,
                               top=0.86, bottom=0.06)
    figure.text(0.075, 0.94, f"{accuracies[-1]:.1%} of {tested} unseen digits read right",
                size=17, weight="bold")
    figure.text(0.075, 0.9, "A small convolutional network on the UCI handwritten digits",
                size=10, alpha=0.75)
    draw_curves(figure.add_subplot(grid[0]), losses, accuracies, spark, sea)
    figure.text(0.075, 0.285, f"What it misread ({len(mistakes)})", size=12, weight="bold")
    cells = grid[1].subgridspec(1, columns, wspace=0.25)
    for column, mistake in enumerate(mistakes[:columns]):
        draw_mistake(figure.add_subplot(cells[column]), *mistake, spark)
    figure.savefig(path)
    pyplot.close(figure)


def draw_curves(axes, losses, accuracies, spark, sea):
    """The loss of every step, its running mean, and on the right the accuracy of every epoch."""
    epochs = np.arange(1, len(losses) + 1) * len(accuracies) / len(losses)
    window = max(1, len(losses) // (2 * len(accuracies)))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    axes.plot(epochs, losses, color=spark, alpha=0.25, linewidth=0.8)
    axes.plot(epochs[window - 1:], smooth, color=spark, linewidth=2.2)
    axes.set(yscale="log", xlim=(0, len(accuracies)), xlabel="epoch")
    axes.set_ylabel("training loss", color=spark, weight="bold")
    axes.grid(axis="y", alpha=0.25)
    right = axes.twinx()
    right.plot(range(1, len(accuracies) + 1), np.array(accuracies) * 100, color=sea, linewidth=2.2,
               marker="o", markersize=5, clip_on=False)
    right.set_ylim(min(90, 100 * min(accuracies) - 2), 100)
    right.set_ylabel("read right, unseen digits (%)", color=sea, weight="bold")


def draw_mistake(axes, image, truth, answer, surety, spark):
    axes.imshow(image, cmap="Greys", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(f"{truth} read as {answer}", size=9, weight="bold", color=spark, pad=4)
    axes.set_xlabel(f"{surety:.0%} sure", size=8.5, labelpad=4)


if __name__ == "__main__":
    sys.exit(main())
