"""Draws of PyTorch's CPU generator: name, shape, arguments and the bits of the values, in one sequence per seed.

    python torch_draws.py        # needs torch, on x86 with AVX2 but not of Intel's (there bernoulli_ is MKL's)
"""

import json
import math

import torch
from torch import nn


def bits(*tensors):
    out = []
    for t in tensors:
        if t.dtype == torch.float32:
            out += [b & 0xFFFFFFFF for b in t.detach().contiguous().view(torch.int32).flatten().tolist()]
        elif t.dtype == torch.float64:
            out += t.view(torch.int64).flatten().tolist()
        else:
            out += t.tolist()
    return out


def layer(shape, bias):
    outputs, inputs, *kernel = shape
    kind = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d}[len(kernel)]
    m = kind(inputs, outputs, *([tuple(kernel)] if kernel else []), bias=bool(bias))
    return [m.weight, m.bias] if bias else [m.weight]


f64 = torch.float64
DRAWS = {
    "rand": lambda s: [torch.rand(s)],
    "uniform": lambda s, a, b: [torch.empty(s).uniform_(a, b)],
    "uniform_f64": lambda s, a, b: [torch.empty(s, dtype=f64).uniform_(a, b)],
    "randn": lambda s: [torch.randn(s)],
    "normal": lambda s, mean, std: [torch.empty(s).normal_(mean, std)],
    "normal_f64": lambda s, mean, std: [torch.empty(s, dtype=f64).normal_(mean, std)],
    "bernoulli": lambda s: [torch.bernoulli(torch.arange(s[0]) / s[0])],
    "bernoulli_p": lambda s, p: [torch.empty(s).bernoulli_(p)],
    "dropout": lambda s, p: [nn.functional.dropout(torch.ones(s), p)],
    "kaiming_uniform": lambda s, a: [nn.init.kaiming_uniform_(torch.empty(s), a)],
    "kaiming_normal": lambda s, a: [nn.init.kaiming_normal_(torch.empty(s), a)],
    "xavier_uniform": lambda s, gain: [nn.init.xavier_uniform_(torch.empty(s), gain)],
    "xavier_normal": lambda s, gain: [nn.init.xavier_normal_(torch.empty(s), gain)],
    "trunc_normal": lambda s, mean, std, a, b: [nn.init.trunc_normal_(torch.empty(s), mean, std, a, b)],
    "orthogonal": lambda s, gain: [nn.init.orthogonal_(torch.empty(s), gain)],
    "embedding": lambda s, padding: [nn.Embedding(*s, padding_idx=padding).weight],
    "layer": layer,
    "randperm": lambda s: [torch.randperm(s[0])],
    "randint": lambda s, low, high: [torch.randint(low, high, s)],
}


def sequence(seed, draws):
    torch.manual_seed(seed)
    rows = [[name, list(shape), list(args), bits(*DRAWS[name](shape, *args))] for name, shape, args in draws]
    return {"seed": seed, "draws": rows}


SIZES = range(1, 41)
mixed = [
    # One value of a pair waits through draws of every other kind.
    ("randn", [1], []), ("rand", [3], []), ("randn", [16], []), ("randperm", [9], []), ("randn", [1], []),
    ("normal", [3], [1.5, 0.02]), ("normal_f64", [3], [-0.25, 3.0]), ("randn", [3], []), ("normal_f64", [37], [0.5, 2.0]),
    ("randn", [2, 5], []), ("randint", [30], [0, 7]), ("randint", [30], [-5, 2**28 - 6]), ("randint", [30], [-5, 2**28 - 5]),
    ("randint", [5], [-(2**40), 2**50]), ("randn", [3, 17], []), ("bernoulli", [33], []), ("bernoulli_p", [33], [0.3]),
    ("dropout", [5, 7], [0.1]), ("dropout", [4], [0.0]), ("dropout", [4], [1.0]), ("rand", [2], []),
    ("uniform_f64", [9], [-0.3, 0.7]), ("randn", [1], []), ("randperm", [1], []), ("randperm", [100], []), ("rand", [1], []),
]
modules = [
    ("layer", [5, 7], [1]), ("layer", [6, 3], [0]), ("layer", [4, 3, 5], [1]), ("layer", [4, 3, 3, 2], [1]),
    ("layer", [2, 3, 1, 1], [0]), ("embedding", [3, 5], [1]), ("embedding", [7, 5], [6]),
    ("kaiming_uniform", [8, 24], [math.sqrt(5)]), ("kaiming_uniform", [3, 11], [0.0]), ("kaiming_normal", [5, 9], [0.0]),
    ("kaiming_normal", [2, 3, 2, 2], [0.1]), ("xavier_uniform", [5, 9], [1.0]), ("xavier_uniform", [2, 3, 2], [0.5]),
    ("xavier_normal", [4, 9], [1.0]), ("trunc_normal", [50], [0.0, 0.02, -0.02, 0.03]), ("trunc_normal", [7], [1.0, 1.0, 0.5, 2.0]),
    ("trunc_normal", [20], [0.0, 0.02, -2.0, 2.0]), ("orthogonal", [5, 3], [1.0]), ("orthogonal", [3, 7], [0.5]), ("orthogonal", [4, 2, 3], [1.0]),
    ("rand", [2], []),
]
cases = [
    sequence(0, [("rand", [n], []) for n in SIZES]),
    sequence(1, [("randn", [n], []) for n in SIZES]),
    sequence(2, [("uniform", [n], [-1 / (n + 2), 1 / (n + 1)]) for n in SIZES]),
    sequence(3, [("normal", [n], [0.1 * n, 1 / (n + 1)]) for n in SIZES]),
    sequence(4, [("randperm", [n], []) for n in SIZES]),
    sequence(2**32 - 1, [("rand", [1000], []), ("randn", [1000], []), ("randperm", [1000], []), ("normal", [10, 71], [0.0, 0.02])]),
    *(sequence(seed, mixed) for seed in (42, 2024, 2**40 + 7)),
    *(sequence(seed, modules) for seed in (42, 123456789)),
]
with open("torch_draws.json", "w") as f:
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    f.write(f'{{"torch": "{torch.__version__}", "sequences": [\n{lines}\n]}}\n')
