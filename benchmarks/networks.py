"""Compact networks that the training steps are timed on, for a torch-like module T."""


def digits_mlp(T):
    """784-512-256-10, for images of 28×28."""
    nn = T.nn
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256),
                         nn.ReLU(), nn.Linear(256, 10))


def digits_cnn(T):
    """Two convolutions, each with a pool, and two linear layers, for images of 28×28."""
    nn = T.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))


def resnet18(T, classes=10):
    """ResNet-18 for small images: its first convolution is 3×3, and no pool follows it."""
    nn = T.nn

    class Block(nn.Module):
        """Two convolutions beside a way around them."""

        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.around = nn.Identity() if stride == 1 else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            inner = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
            return (inner + self.around(x)).relu()

    def stage(inputs, outputs, stride):
        return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        stage(64, 64, 1), stage(64, 128, 2), stage(128, 256, 2), stage(256, 512, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def gpt(T, layers, width, heads, length, vocabulary):
    """A decoder of pre-norm blocks over tokens (batch, length); returns scores of the next ones."""
    nn, attend = T.nn, T.nn.functional.scaled_dot_product_attention

    class Attention(nn.Module):
        """Causal attention of several heads."""

        def __init__(self):
            super().__init__()
            self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            batch, length, _ = x.shape
            q, k, v = (part.view(batch, length, heads, width // heads).transpose(1, 2)
                       for part in self.inward(x).split(width, 2))
            found = attend(q, k, v, is_causal=True)
            return self.outward(found.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):
        """Attention, then a perceptron, each on normalised rows and added to what came in."""

        def __init__(self):
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2, self.mlp = nn.LayerNorm(width), nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        """Embeddings of tokens and places, the blocks, and scores."""

        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens):
            x = self.tokens(tokens) + self.places(T.arange(tokens.shape[1]))
            return self.scores(self.norm(self.blocks(x)))

    return GPT()


def lstm_reader(T, inputs, hidden, classes):
    """An LSTM over sequences (batch, length, inputs), and scores from its last output."""
    nn = T.nn

    class Reader(nn.Module):
        """The layers."""

        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
            self.scores = nn.Linear(hidden, classes)

        def forward(self, x):
            return self.scores(self.lstm(x)[0][:, -1])

    return Reader()
