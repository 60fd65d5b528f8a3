"""What tests of optimizers share: gradients made of sines, and every optimizer with its options."""

import math

# After 20 steps from START in PyTorch 2.13.
RESULTS = [
    ("SGD", dict(lr=0.1), [0.73128456, -0.88762611, -0.0840341]),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True), [-1.2441878, -2.8091729, -1.1857355]),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1, maximize=True),
     [1.3147131, 0.87193888, 0.94034547]),
    ("Adam", dict(lr=0.1), [0.25636783, -1.1476393, -0.13798146]),
    ("Adam", dict(lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
     [1.3617361, 0.16238289, 0.531335]),
    ("AdamW", dict(lr=0.1, weight_decay=0.1), [0.17028117, -0.97383106, -0.1384175]),
    ("RMSprop", dict(lr=0.01), [0.67879295, -0.73573279, 0.089640565]),
    ("RMSprop", dict(lr=0.01, momentum=0.9, centered=True, weight_decay=0.1, maximize=True),
     [2.1228077, 1.0095464, 0.79221088]),
    ("Adagrad", dict(lr=0.1), [0.679124, -0.73324639, 0.092864238]),
    ("Adagrad", dict(lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.1,
                     maximize=True), [1.1278328, -0.30705464, 0.33492056]),
    ("Adadelta", dict(lr=1.0), [0.98385292, -0.51318812, 0.23786177]),
    ("Adadelta", dict(lr=1.0, rho=0.5, weight_decay=0.1, maximize=True),
     [1.0004621, -0.49133494, 0.25598767]),
    ("Adamax", dict(lr=0.1), [0.45453656, -1.0277983, -0.054720078]),
    ("Adamax", dict(lr=0.1, weight_decay=0.1, maximize=True), [1.2638685, 0.045340382, 0.48527125]),
    ("NAdam", dict(lr=0.1), [0.52437502, -0.92666751, -0.099056453]),
    ("NAdam", dict(lr=0.1, weight_decay=0.1, momentum_decay=0.1, decoupled_weight_decay=True,
                   maximize=True), [1.2285271, -0.028657805, 0.524773]),
    ("RAdam", dict(lr=0.1), [0.71932852, -0.91289657, 0.026667709]),
    ("RAdam", dict(lr=0.1, betas=(0.8, 0.9), weight_decay=0.1, decoupled_weight_decay=True,
                   maximize=True), [1.120927, -0.0012647919, 0.47967494]),
    ("ASGD", dict(lr=0.1), [0.7311334, -0.88746041, -0.084032036]),
    ("ASGD", dict(lr=0.1, t0=3, lambd=0.1, weight_decay=0.1, maximize=True),
     [0.87993121, -0.040822905, 0.44750041]),
    ("Rprop", dict(lr=0.1), [0.42084807, -0.94573122, 0.008105766]),
    ("Rprop", dict(lr=0.1, etas=(0.3, 1.5), step_sizes=(0.001, 0.2), maximize=True),
     [1.7269623, 0.068480879, 0.55563241]),
    ("Adafactor", dict(lr=0.1), [0.7163496, -0.75384951, 0.041647214]),
    ("Adafactor", dict(lr=0.1, weight_decay=0.1, beta2_decay=-0.3, eps=(0.001, 0.01),
                       maximize=True), [0.98502302, -0.25508878, 0.36178449]),
]
START = [1.0, -0.5, 0.25]
ELEMENTWISE = [row for row in RESULTS if row[0] != "Adafactor"]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(RESULTS)]


def gradient(t):
    return [math.sin(0.7 * t + i) + 0.1 for i in range(3)]
