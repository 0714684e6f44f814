#!/usr/bin/env python3
"""Writes references.json: numbers of transformers, scikit-learn, SciPy and PyTorch that `tests/training.rs` compares with.

    python references.py        # writes beside itself
"""
import json, pathlib
import numpy as np
import scipy.stats
import sklearn.metrics as metrics
import torch
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

generator = np.random.default_rng(20)


def schedule(name, warmup, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = {
        "linear": lambda: get_linear_schedule_with_warmup(optimizer, warmup, total),
        "cosine": lambda: get_cosine_schedule_with_warmup(optimizer, warmup, total),
        "constant": lambda: get_constant_schedule_with_warmup(optimizer, warmup),
    }[name]()
    factors = []
    for _ in range(total + 3):  # also a little past the end
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # The reference keeps no promises past the end of a cosine; training never asks.
    return dict(name=name, warmup=warmup, total=total, factors=factors[:total + (0 if name == "cosine" else 3)])


def classification(name, classes, predicted, wanted):
    predicted, wanted = np.asarray(predicted), np.asarray(wanted)
    return dict(name=name, classes=classes, predicted=predicted.tolist(), wanted=wanted.tolist(),
                accuracy=metrics.accuracy_score(wanted, predicted),
                macro_f1=metrics.f1_score(wanted, predicted, average="macro", zero_division=0),
                micro_f1=metrics.f1_score(wanted, predicted, average="micro", zero_division=0),
                matthews=metrics.matthews_corrcoef(wanted, predicted))


def regression(name, predicted, wanted):
    predicted, wanted = np.float32(predicted), np.float32(wanted)
    a, b = predicted.astype(np.float64), wanted.astype(np.float64)
    return dict(name=name, predicted=predicted.tolist(), wanted=wanted.tolist(),
                pearson=float(scipy.stats.pearsonr(a, b).statistic),
                spearman=float(scipy.stats.spearmanr(a, b).statistic),
                mean_squared_error=metrics.mean_squared_error(b, a))


def clipping(max_norm, *shapes):
    """Gradients before and after torch's clip_grad_norm_, in float32."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.tensor(generator.normal(size=parameter.shape), dtype=torch.float32)
    before = [p.grad.flatten().tolist() for p in parameters]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return dict(max_norm=max_norm, shapes=[list(shape) for shape in shapes], before=before, norm=norm.item(),
                after=[p.grad.flatten().tolist() for p in parameters])


noisy = generator.normal(size=60)
out = dict(
    schedules=[schedule(name, warmup, total) for name in ("linear", "cosine", "constant")
               for warmup, total in ((0, 10), (3, 20), (1, 1), (5, 5), (8, 6))],
    classifications=[
        classification("three classes", 3, generator.integers(0, 3, 80), generator.integers(0, 3, 80)),
        classification("rare positives", 2, generator.random(200) < 0.08, generator.random(200) < 0.1),
        classification("mostly right", 5, *(lambda y: (np.where(generator.random(90) < 0.8, y, 4 - y), y))(
            generator.integers(0, 5, 90))),
        classification("a class that never occurs", 4, generator.integers(0, 3, 50), generator.integers(0, 2, 50)),
        classification("constant predictions", 3, np.zeros(40, int), generator.integers(0, 3, 40)),
        classification("all right", 2, [0, 1, 1, 0], [0, 1, 1, 0]),
        classification("all wrong", 2, [1, 0, 0, 1], [0, 1, 1, 0]),
    ],
    regressions=[
        regression("noisy", noisy, noisy + generator.normal(size=60)),
        regression("ties", np.round(noisy * 2) / 2, np.round(noisy + generator.normal(size=60))),
        regression("falling", noisy, -np.exp(noisy)),
        regression("far from zero", 1000 + noisy / 8, 1000 + noisy / 8 + generator.normal(size=60) / 8),
    ],
    clippings=[clipping(1.0, (3, 4), (5,)), clipping(0.25, (2, 2), (3,), (4, 1)), clipping(100.0, (6,), (2, 3))],
)
for case in out["classifications"]:
    case["predicted"] = [int(value) for value in case["predicted"]]
    case["wanted"] = [int(value) for value in case["wanted"]]
path = pathlib.Path(__file__).with_name("references.json")
path.write_text(json.dumps(out, separators=(",", ":")).replace('},{"', '},\n{"') + "\n", encoding="utf-8")
