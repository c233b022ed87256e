"""Reflections and rotations as PEFT's HRA and OFT compute them: shape and values of each tensor.

    python peft_values.py        # needs torch and peft
"""

import json

import peft
import torch
from peft.tuners.hra.layer import HRALinear
from peft.tuners.oft.layer import OFTRotationModule
from torch import nn

torch.manual_seed(0)
x = torch.randn(2, 3, 12)
tensors = {"x": x}


def hra(gram_schmidt):
    """x -> x Hᵀ, read off a layer whose weight is the identity."""
    base = nn.Linear(12, 12, bias=False)
    base.weight.data = torch.eye(12)
    layer = HRALinear(base, "default", peft.HRAConfig(r=4, apply_GS=gram_schmidt, init_weights=False), r=4)
    layer.hra_u["default"].data = tensors.setdefault("hra_u", torch.randn(12, 4))
    return layer(x)


tensors["hra"] = hra(False)
tensors["hra_gs"] = hra(True)
columns = []
for u in tensors["hra_u"].T:
    for w in columns:
        u = u - (w @ u) * w
    columns.append(u / u.norm())
tensors["gram_schmidt"] = torch.stack(columns, 1)

tensors["oft_R"] = torch.randn(3, 6) * 0.3
tensors["oft_R_shared"] = torch.randn(1, 6) * 0.3
for name, key in [("oft", "oft_R"), ("oft_shared", "oft_R_shared")]:
    share = name == "oft_shared"
    module = OFTRotationModule(1 if share else 3, 6, 4, 12, block_share=share, use_cayley_neumann=False)
    module.weight.data = tensors[key]
    tensors[name] = module(x)
    if not share:
        tensors["skew"] = module._pytorch_skew_symmetric(module.weight, 4)
        tensors["cayley"] = module._cayley_batch(module.weight, 4, False)
        for terms in range(1, 7):
            tensors[f"neumann{terms}"] = module._cayley_batch(module.weight, 4, True, terms)

with open("peft_values.json", "w") as f:
    rows = [f"{json.dumps(k)}: {json.dumps([list(t.shape), t.flatten().tolist()])}" for k, t in tensors.items()]
    f.write("{\n" + ",\n".join(rows) + "\n}\n")
