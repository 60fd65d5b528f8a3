"""The table from which the tests of single layers are made: constructor arguments and inputs.

A case is (class name, args, kwargs, inputs); `inputs` makes NumPy arrays from a `Draw`. Floating
arrays become tensors that require a gradient, the others plain ones. Further forward arguments that
are no arrays are passed as they are.
"""

import numpy as np


class Draw:
    """Random arrays for inputs, the same for every library."""

    def __init__(self, seed=0):
        self.rng = np.random.RandomState(seed)

    def normal(self, *shape):
        return self.rng.randn(*shape).astype(np.float32)

    def positive(self, *shape):
        return self.rng.uniform(0.1, 0.9, shape).astype(np.float32)

    def below(self, high, *shape):
        return self.rng.randint(0, high, shape).astype(np.int64)

    def signs(self, *shape):
        return np.where(self.rng.rand(*shape) < 0.5, -1, 1).astype(np.float32)


class Fixed:
    """An input without a gradient although it is floating."""

    def __init__(self, array):
        self.array = array


def x(*shape):
    return lambda d: (d.normal(*shape),)


def case(name, *args, inputs, **kwargs):
    return name, args, kwargs, inputs


ACTIVATIONS = [
    case(name, inputs=x(3, 4))
    for name in (
        "ReLU ReLU6 RReLU Hardtanh Sigmoid Hardsigmoid Tanh SiLU Mish Hardswish ELU CELU SELU GLU "
        "GELU Hardshrink LeakyReLU LogSigmoid Softplus Softshrink PReLU Softsign Tanhshrink"
    ).split()
] + [
    case("Threshold", 0.1, 20, inputs=x(3, 4)),
    case("Hardtanh", -2, 2, inputs=x(3, 4)),
    case("ELU", 0.5, inputs=x(3, 4)),
    case("CELU", 2.0, inputs=x(3, 4)),
    case("GLU", 0, inputs=x(4, 3)),
    case("GELU", approximate="tanh", inputs=x(3, 4)),
    case("LeakyReLU", 0.2, inputs=x(3, 4)),
    case("Softplus", 2.0, 1.0, inputs=x(3, 4)),
    case("PReLU", 4, 0.1, inputs=x(3, 4)),
    case("Softmin", 1, inputs=x(3, 4)),
    case("Softmax", 0, inputs=x(3, 4)),
    case("Softmax", dim=-1, inputs=x(2, 3, 4)),
    case("LogSoftmax", 1, inputs=x(3, 4)),
    case("Softmax2d", inputs=x(2, 3, 4, 5)),
]

LINEAR = [
    case("Identity", 1, unused=2, inputs=x(2, 3)),
    case("Linear", 5, 3, inputs=x(2, 5)),
    case("Linear", 5, 3, bias=False, inputs=x(2, 4, 5)),
    case("Linear", 5, 3, inputs=x(5)),
    case("Bilinear", 3, 4, 5, inputs=lambda d: (d.normal(2, 3), d.normal(2, 4))),
    case("Bilinear", 3, 4, 5, bias=False, inputs=lambda d: (d.normal(2, 3), d.normal(2, 4))),
    case("LazyLinear", 3, inputs=x(2, 5)),
]

CONV = [
    case("Conv1d", 4, 6, 3, inputs=x(2, 4, 10)),
    case("Conv1d", 4, 6, 3, stride=2, padding=2, dilation=2, groups=2, inputs=x(2, 4, 10)),
    case("Conv1d", 4, 6, 4, padding="same", inputs=x(2, 4, 10)),
    case("Conv1d", 4, 6, 3, padding=2, padding_mode="circular", inputs=x(2, 4, 10)),
    case("Conv1d", 4, 6, 3, inputs=x(4, 10)),
    case("Conv2d", 3, 4, 3, inputs=x(2, 3, 7, 8)),
    case("Conv2d", 3, 4, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(2, 1),
         inputs=x(2, 3, 9, 8)),
    case("Conv2d", 4, 4, 3, groups=4, bias=False, inputs=x(1, 4, 6, 6)),
    case("Conv2d", 3, 4, 3, padding="valid", inputs=x(2, 3, 7, 8)),
    case("Conv2d", 3, 4, (2, 3), padding="same", dilation=2, padding_mode="reflect",
         inputs=x(2, 3, 7, 8)),
    case("Conv2d", 3, 4, 3, padding=1, padding_mode="replicate", inputs=x(3, 7, 8)),
    case("Conv3d", 2, 3, (1, 2, 3), padding=1, inputs=x(1, 2, 4, 5, 6)),
    case("Conv3d", 2, 3, 2, stride=2, inputs=x(1, 2, 4, 5, 6)),
    case("ConvTranspose1d", 4, 6, 3, stride=2, inputs=x(2, 4, 5)),
    case("ConvTranspose1d", 4, 6, 3, 2, 1, 1, groups=2, dilation=2, inputs=x(2, 4, 5)),
    case("ConvTranspose2d", 3, 4, 3, stride=2, padding=1,
         inputs=lambda d: (d.normal(1, 3, 5, 6), (10, 12))),
    case("ConvTranspose2d", 3, 4, (3, 2), bias=False, inputs=x(1, 3, 5, 6)),
    case("ConvTranspose3d", 2, 3, 2, stride=2, inputs=x(1, 2, 3, 4, 5)),
    case("LazyConv1d", 6, 3, inputs=x(2, 4, 10)),
    case("LazyConv2d", 4, 3, padding=1, inputs=x(2, 3, 5, 5)),
    case("LazyConv3d", 3, 2, bias=False, inputs=x(1, 2, 4, 5, 6)),
    case("LazyConvTranspose1d", 6, 3, inputs=x(2, 4, 5)),
    case("LazyConvTranspose2d", 4, 3, 2, inputs=x(1, 3, 5, 6)),
    case("LazyConvTranspose3d", 3, 2, inputs=x(1, 2, 3, 4, 5)),
]

NORMALISATION = [
    case("BatchNorm1d", 4, inputs=x(5, 4)),
    case("BatchNorm1d", 4, momentum=None, inputs=x(3, 4, 6)),
    case("BatchNorm1d", 4, affine=False, inputs=x(5, 4)),
    case("BatchNorm2d", 3, eps=1e-3, momentum=0.3, inputs=x(2, 3, 4, 5)),
    case("BatchNorm2d", 3, track_running_stats=False, inputs=x(2, 3, 4, 5)),
    case("BatchNorm3d", 2, inputs=x(2, 2, 3, 4, 5)),
    case("BatchNorm2d", 3, bias=False, inputs=x(2, 3, 4, 5)),
    case("SyncBatchNorm", 4, inputs=x(5, 4)),
    case("InstanceNorm1d", 4, inputs=x(3, 4, 6)),
    case("InstanceNorm1d", 4, affine=True, track_running_stats=True, inputs=x(3, 4, 6)),
    case("InstanceNorm2d", 3, affine=True, inputs=x(3, 4, 5)),
    case("InstanceNorm3d", 2, inputs=x(2, 2, 3, 4, 5)),
    case("LazyBatchNorm1d", inputs=x(5, 4)),
    case("LazyBatchNorm2d", affine=False, inputs=x(2, 3, 4, 5)),
    case("LazyBatchNorm3d", track_running_stats=False, inputs=x(2, 2, 3, 4, 5)),
    case("LazyInstanceNorm1d", affine=True, inputs=x(3, 4, 6)),
    case("LazyInstanceNorm2d", inputs=x(2, 3, 4, 5)),
    case("LazyInstanceNorm3d", inputs=x(2, 2, 3, 4, 5)),
    case("LayerNorm", 6, inputs=x(3, 6)),
    case("LayerNorm", [4, 6], eps=1e-3, inputs=x(2, 4, 6)),
    case("LayerNorm", 6, elementwise_affine=False, inputs=x(3, 6)),
    case("LayerNorm", 6, bias=False, inputs=x(3, 6)),
    case("GroupNorm", 2, 6, inputs=x(3, 6, 4)),
    case("GroupNorm", 3, 6, affine=False, inputs=x(3, 6, 2)),
    case("RMSNorm", 6, inputs=x(3, 6)),
    case("RMSNorm", (4, 6), eps=1e-3, elementwise_affine=False, inputs=x(2, 4, 6)),
    case("LocalResponseNorm", 3, inputs=x(2, 5, 4, 4)),
    case("LocalResponseNorm", 2, 1e-2, 0.5, 2.0, inputs=x(2, 5, 4)),
    case("CrossMapLRN2d", 3, 0.5, inputs=x(2, 2, 3, 3)),
]

POOLING = [
    case("MaxPool1d", 3, inputs=x(2, 3, 10)),
    case("MaxPool1d", 3, 2, padding=1, dilation=2, ceil_mode=True, inputs=x(2, 3, 10)),
    case("MaxPool2d", 2, inputs=x(2, 3, 6, 7)),
    case("MaxPool2d", (3, 2), stride=(2, 1), padding=1, inputs=x(3, 6, 7)),
    case("MaxPool2d", 2, return_indices=True, inputs=x(2, 3, 6, 7)),
    case("MaxPool3d", 2, inputs=x(1, 2, 4, 5, 6)),
    case("MaxUnpool1d", 2, inputs=lambda d: (d.normal(1, 2, 3), np.array([[[0, 3, 5]] * 2]))),
    case("MaxUnpool2d", 2, inputs=lambda d: (d.normal(1, 1, 1, 2), np.array([[[[5, 2]]]]))),
    case("MaxUnpool2d", 2, inputs=lambda d: (
        d.normal(1, 1, 1, 2), np.array([[[[5, 2]]]]), (1, 1, 3, 5))),
    case("MaxUnpool3d", 2, inputs=lambda d: (d.normal(1, 1, 1, 1, 2), np.array([[[[[7, 2]]]]]))),
    case("AvgPool1d", 3, inputs=x(2, 3, 10)),
    case("AvgPool1d", 3, 2, 1, True, False, inputs=x(2, 3, 10)),
    case("AvgPool2d", 2, inputs=x(2, 3, 6, 7)),
    case("AvgPool2d", (3, 2), (2, 1), (1, 0), divisor_override=3, inputs=x(2, 3, 6, 7)),
    case("AvgPool2d", 3, 2, 1, count_include_pad=False, ceil_mode=True, inputs=x(3, 6, 7)),
    case("AvgPool3d", 2, inputs=x(1, 2, 4, 5, 6)),
    case("FractionalMaxPool2d", 2, output_size=(3, 4), inputs=x(2, 3, 7, 8)),
    case("FractionalMaxPool2d", 3, output_ratio=(0.5, 0.6), inputs=x(2, 3, 7, 8)),
    case("FractionalMaxPool3d", 2, output_size=3, inputs=x(1, 2, 6, 6, 6)),
    case("LPPool1d", 2, 3, inputs=lambda d: (d.positive(2, 3, 10),)),
    case("LPPool2d", 3, (2, 3), stride=1, inputs=lambda d: (d.positive(2, 3, 6, 7),)),
    case("LPPool3d", 2, 2, ceil_mode=True, inputs=lambda d: (d.positive(1, 2, 5, 5, 5),)),
    case("AdaptiveMaxPool1d", 4, inputs=x(2, 3, 10)),
    case("AdaptiveMaxPool2d", (3, None), inputs=x(2, 3, 6, 7)),
    case("AdaptiveMaxPool2d", 2, True, inputs=x(2, 3, 6, 7)),
    case("AdaptiveMaxPool3d", 2, inputs=x(1, 2, 4, 5, 6)),
    case("AdaptiveAvgPool1d", 4, inputs=x(2, 3, 10)),
    case("AdaptiveAvgPool2d", (3, None), inputs=x(2, 3, 6, 7)),
    case("AdaptiveAvgPool3d", (2, 3, 4), inputs=x(1, 2, 4, 5, 6)),
]

PADDING = [
    case(f"{kind}Pad{dims}d", padding, *((2.5,) if kind == "Constant" else ()),
         inputs=x(2, 3, *(4, 5, 6)[:dims]))
    for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
    for dims in (1, 2, 3)
    for padding in (1, tuple(range(1, 2 * dims + 1))[:2 * dims] if dims == 1 else (2, 1) * dims)
]

DROPOUT = [
    case("Dropout", inputs=x(10, 10)),
    case("Dropout", 0.2, inputs=x(100)),
    case("Dropout", 0.0, inputs=x(5)),
    case("Dropout1d", 0.3, inputs=x(4, 5, 3)),
    case("Dropout2d", 0.3, inputs=x(4, 5, 3, 2)),
    case("Dropout3d", 0.3, inputs=x(4, 5, 3, 2, 2)),
    case("AlphaDropout", 0.3, inputs=x(10, 10)),
    case("FeatureAlphaDropout", 0.3, inputs=x(4, 5, 3)),
]

EMBEDDING = [
    case("Embedding", 10, 3, inputs=lambda d: (d.below(10, 2, 4),)),
    case("Embedding", 10, 3, padding_idx=-2, inputs=lambda d: (d.below(10, 20),)),
    case("Embedding", 10, 3, max_norm=1.0, norm_type=1.5, inputs=lambda d: (d.below(10, 4),)),
    case("Embedding", 10, 3, scale_grad_by_freq=True, inputs=lambda d: (d.below(4, 20),)),
    case("EmbeddingBag", 10, 3, inputs=lambda d: (d.below(10, 2, 4),)),
    case("EmbeddingBag", 10, 3, mode="sum",
         inputs=lambda d: (d.below(10, 7), np.array([0, 2, 2, 5]))),
    case("EmbeddingBag", 10, 3, mode="max", padding_idx=1,
         inputs=lambda d: (d.below(10, 7), np.array([0, 3]))),
    case("EmbeddingBag", 10, 3, mode="sum", include_last_offset=True,
         inputs=lambda d: (d.below(10, 7), np.array([0, 3, 7]), Fixed(d.normal(7)))),
]

PAIR = lambda d: (d.normal(4, 5), Fixed(d.normal(4, 5)))
CLASSES = lambda d: (d.normal(4, 5), d.below(5, 4))

LOSSES = [
    case(name, reduction=reduction, inputs=PAIR)
    for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")
    for reduction in ("mean", "sum", "none")
] + [
    case("L1Loss", size_average=False, inputs=PAIR),
    case("MSELoss", reduce=False, inputs=PAIR),
    case("SmoothL1Loss", beta=0.3, inputs=PAIR),
    case("HuberLoss", delta=0.3, inputs=PAIR),
    case("NLLLoss", inputs=CLASSES),
    case("NLLLoss", ignore_index=2, reduction="sum", inputs=CLASSES),
    case("NLLLoss", inputs=lambda d: (d.normal(2, 5, 3, 4), d.below(5, 2, 3, 4))),
    case("CrossEntropyLoss", inputs=CLASSES),
    case("CrossEntropyLoss", reduction="none", label_smoothing=0.1, inputs=CLASSES),
    case("CrossEntropyLoss", ignore_index=2, inputs=CLASSES),
    case("CrossEntropyLoss", inputs=lambda d: (d.normal(4, 5), Fixed(d.positive(4, 5)))),
    case("CrossEntropyLoss", inputs=lambda d: (d.normal(2, 5, 3), d.below(5, 2, 3))),
    case("LinearCrossEntropyLoss", 6, 5, inputs=lambda d: (d.normal(4, 6), d.below(5, 4))),
    case("LinearCrossEntropyLoss", 6, 5, bias=True, out_features=(2,), reduction="sum",
         inputs=lambda d: (d.normal(4, 6), d.below(5, 4, 2))),
    case("PoissonNLLLoss", inputs=lambda d: (d.normal(4), Fixed(d.positive(4)))),
    case("PoissonNLLLoss", False, True,
         inputs=lambda d: (d.positive(4), Fixed(5 * d.positive(4)))),
    case("GaussianNLLLoss", full=True,
         inputs=lambda d: (d.normal(4, 3), d.normal(4, 3), d.positive(4, 1))),
    case("KLDivLoss", reduction="batchmean",
         inputs=lambda d: (d.normal(4, 3), Fixed(d.positive(4, 3)))),
    case("KLDivLoss", reduction="sum", log_target=True, inputs=PAIR),
    case("BCELoss", inputs=lambda d: (d.positive(4, 3), Fixed(d.positive(4, 3)))),
    case("BCEWithLogitsLoss", inputs=lambda d: (d.normal(4, 3), Fixed(d.positive(4, 3)))),
    case("HingeEmbeddingLoss", 0.5, inputs=lambda d: (d.normal(6), Fixed(d.signs(6)))),
    case("MultiLabelMarginLoss",
         inputs=lambda d: (d.normal(2, 4), np.array([[3, 0, -1, 1], [1, 2, 3, -1]]))),
    case("SoftMarginLoss", inputs=lambda d: (d.normal(4, 3), Fixed(d.signs(4, 3)))),
    case("MultiLabelSoftMarginLoss",
         inputs=lambda d: (d.normal(4, 3), Fixed((d.signs(4, 3) + 1) / 2))),
    case("CosineEmbeddingLoss", 0.2, inputs=lambda d: (
        d.normal(4, 3), d.normal(4, 3), Fixed(d.signs(4)))),
    case("MarginRankingLoss", 0.2, inputs=lambda d: (d.normal(4), d.normal(4), Fixed(d.signs(4)))),
    case("MultiMarginLoss", inputs=CLASSES),
    case("MultiMarginLoss", 2, 0.5, inputs=CLASSES),
    case("TripletMarginLoss", inputs=lambda d: (d.normal(4, 3), d.normal(4, 3), d.normal(4, 3))),
    case("TripletMarginLoss", 2.0, 1.0, swap=True,
         inputs=lambda d: (d.normal(4, 3), d.normal(4, 3), d.normal(4, 3))),
    case("TripletMarginWithDistanceLoss", swap=True,
         inputs=lambda d: (d.normal(4, 3), d.normal(4, 3), d.normal(4, 3))),
    case("CTCLoss", inputs=lambda d: (
        d.normal(6, 2, 4), 1 + d.below(3, 2, 3), np.array([6, 5]), np.array([3, 2]))),
    case("CTCLoss", 1, "sum", True, inputs=lambda d: (
        d.normal(6, 2, 4), np.array([2, 3, 0, 2, 2]), np.array([6, 5]), np.array([3, 2]))),
]

SHAPES = [
    case("Flatten", inputs=x(2, 3, 4)),
    case("Flatten", 0, 1, inputs=x(2, 3, 4)),
    case("Unflatten", 1, (2, 3), inputs=x(4, 6)),
    case("Fold", (4, 5), (2, 2), inputs=x(1, 12, 12)),
    case("Fold", (4, 5), 2, padding=1, stride=2, inputs=x(8, 9)),
    case("Unfold", (2, 3), inputs=x(2, 5, 3, 4)),
    case("Unfold", 2, dilation=2, padding=1, stride=2, inputs=x(2, 3, 6, 6)),
    case("PixelShuffle", 2, inputs=x(1, 8, 3, 4)),
    case("PixelUnshuffle", 2, inputs=x(1, 2, 6, 4)),
    case("ChannelShuffle", 2, inputs=x(1, 4, 3, 3)),
    case("Upsample", scale_factor=2, inputs=x(1, 2, 3, 4)),
    case("Upsample", (5, 7), mode="bilinear", inputs=x(1, 2, 3, 4)),
    case("Upsample", scale_factor=1.5, mode="linear", align_corners=True, inputs=x(1, 2, 5)),
    case("Upsample", scale_factor=(2.0, 3.0), mode="bicubic", inputs=x(1, 2, 3, 4)),
    case("Upsample", 3, mode="trilinear", inputs=x(1, 2, 2, 2, 2)),
    case("UpsamplingNearest2d", 5, inputs=x(1, 2, 3, 4)),
    case("UpsamplingBilinear2d", scale_factor=2, inputs=x(1, 2, 3, 4)),
    case("CosineSimilarity", inputs=lambda d: (d.normal(3, 4), d.normal(3, 4))),
    case("CosineSimilarity", 0, 1e-3, inputs=lambda d: (d.normal(3, 4), d.normal(3, 4))),
    case("PairwiseDistance", inputs=lambda d: (d.normal(3, 4), d.normal(3, 4))),
    case("PairwiseDistance", 1.0, keepdim=True, inputs=lambda d: (d.normal(3, 4), d.normal(3, 4))),
]

RECURRENT = [
    case(name, 4, 3, inputs=x(5, 2, 4)) for name in ("RNN", "GRU", "LSTM")
] + [
    case(name, 4, 3, 2, batch_first=True, bidirectional=True, inputs=x(2, 5, 4))
    for name in ("RNN", "GRU", "LSTM")
] + [
    case(name, 4, 3, inputs=x(5, 4)) for name in ("RNN", "GRU", "LSTM")
] + [
    case("RNN", 4, 3, 2, "relu", bias=False, inputs=x(5, 2, 4)),
    case("RNN", 4, 3, inputs=lambda d: (d.normal(5, 2, 4), d.normal(1, 2, 3))),
    case("GRU", 4, 3, bias=False, inputs=lambda d: (d.normal(5, 2, 4), d.normal(1, 2, 3))),
    case("LSTM", 4, 3, 2, proj_size=2, bidirectional=True, inputs=x(5, 2, 4)),
    case("LSTM", 4, 3, bias=False, inputs=x(5, 2, 4)),
    case("GRU", 4, 3, 3, dropout=0.4, inputs=x(5, 2, 4)),
    case("RNNCell", 4, 3, inputs=x(2, 4)),
    case("RNNCell", 4, 3, False, "relu", inputs=lambda d: (d.normal(4), d.normal(3))),
    case("GRUCell", 4, 3, inputs=lambda d: (d.normal(2, 4), d.normal(2, 3))),
    case("LSTMCell", 4, 3, inputs=x(2, 4)),
    case("LSTMCell", 4, 3, bias=False, inputs=x(4)),
]

SELF = lambda d: (d.normal(5, 2, 8),) * 3
CROSS = lambda d: (d.normal(4, 2, 8), d.normal(5, 2, 8), d.normal(5, 2, 8))

ATTENTION = [
    case("MultiheadAttention", 8, 2, inputs=SELF),
    case("MultiheadAttention", 8, 2, bias=False, batch_first=True, inputs=SELF),
    case("MultiheadAttention", 8, 4, add_bias_kv=True, add_zero_attn=True, inputs=CROSS),
    case("MultiheadAttention", 8, 2, kdim=6, vdim=7,
         inputs=lambda d: (d.normal(4, 2, 8), d.normal(5, 2, 6), d.normal(5, 2, 7))),
    case("MultiheadAttention", 8, 2, 0.5, inputs=CROSS),
    case("MultiheadAttention", 8, 2,
         inputs=lambda d: (d.normal(4, 8), d.normal(5, 8), d.normal(5, 8))),
    case("MultiheadAttention", 8, 2, inputs=lambda d: (
        *CROSS(d), np.array([[False] * 5, [False] * 3 + [True] * 2]), False,
        Fixed(d.normal(4, 5)))),
    case("MultiheadAttention", 8, 2, inputs=lambda d: (
        *CROSS(d), None, True, d.normal(4, 4, 5) > 1, False)),
    case("TransformerEncoderLayer", 8, 2, 16, 0.0, inputs=x(5, 2, 8)),
    case("TransformerEncoderLayer", 8, 2, 16, 0.1, "gelu", norm_first=True, batch_first=True,
         inputs=x(2, 5, 8)),
    case("TransformerDecoderLayer", 8, 2, 16, 0.0,
         inputs=lambda d: (d.normal(4, 2, 8), d.normal(5, 2, 8))),
    case("TransformerDecoderLayer", 8, 2, 16, 0.0, bias=False, norm_first=True,
         inputs=lambda d: (d.normal(4, 2, 8), d.normal(5, 2, 8))),
    case("TransformerEncoder", None, 2, inputs=x(5, 2, 8)),
    case("TransformerDecoder", None, 2,
         inputs=lambda d: (d.normal(4, 2, 8), d.normal(5, 2, 8))),
    case("Transformer", 8, 2, 2, 1, 16, 0.0,
         inputs=lambda d: (d.normal(5, 2, 8), d.normal(4, 2, 8))),
]

ADAPTIVE = [
    case("AdaptiveLogSoftmaxWithLoss", 8, 20, [5, 10],
         inputs=lambda d: (d.normal(6, 8), d.below(20, 6))),
    case("AdaptiveLogSoftmaxWithLoss", 8, 20, [5, 10, 15], 2.0, True,
         inputs=lambda d: (d.normal(8), np.array(7))),
]

CASES = (
    ACTIVATIONS + LINEAR + CONV + NORMALISATION + POOLING + PADDING + DROPOUT + EMBEDDING + LOSSES
    + SHAPES + RECURRENT + ATTENTION + ADAPTIVE
)


def identifier(the_case):
    name, args, kwargs, _ = the_case
    shown = [str(a) for a in args] + [f"{k}={v}" for k, v in kwargs.items()]
    return f"{name}({', '.join(shown)})"
