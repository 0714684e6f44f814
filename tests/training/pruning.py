#!/usr/bin/env python3
"""Writes pruning.json and pruning.safetensors: ten steps of pruning a tiny BERT while it is fine-tuned, with torch.

    python pruning.py        # writes beside itself, from trajectory.json and trajectory.safetensors

Movement pruning, soft movement pruning and magnitude pruning (Sanh et al. 2020), in float64, from the weights and on the rows of
`trajectory.py`. A map's weight is `w * mask(scores)`; the mask is a function whose gradient torch takes for that of its
scores. Embeddings are frozen. As in the reference there, Adam's epsilon is large. `tests/training/pruning.rs` does the same and
compares losses, masks and weights. MARGIN, which is printed, is the least distance between a score that was kept and one
that was not: far above the rounding of 32-bit floats, or masks could differ by chance.
"""
import json, pathlib
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

folder = pathlib.Path(__file__).parent
trajectory = json.loads((folder / "trajectory.json").read_text(encoding="utf-8"))
rows, order, settings = trajectory["rows"], trajectory["order"], trajectory["settings"]
stored = load_file(folder / "trajectory.safetensors")
initial = {name.removeprefix("initial."): value for name, value in stored.items() if name.startswith("initial.")}
BATCH, WARMUP = settings["batch_size"], settings["warmup"]
SCORE_RATE, FIRST, LAST, KEEP, THRESHOLD, WEIGHT = 0.4, 2, 3, 0.3, 0.45, 10.0
margins = []


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context, scores, mask):
        return mask

    @staticmethod
    def backward(context, gradient):
        return gradient, None


class Pruned(torch.nn.Module):
    """What a weight is: itself where the mask of this step is 1."""

    def __init__(self, method, weight):
        super().__init__()
        self.method, self.now = method, None
        self.scores = torch.nn.Parameter(torch.zeros_like(weight), requires_grad=method != "magnitude")

    def mask(self, weight):
        scores = (weight.abs() if self.method == "magnitude" else self.scores).detach()
        if self.method == "soft":
            kept = torch.sigmoid(scores) > self.now
            margins.append((scores - torch.tensor(self.now).logit()).abs().min().item() if self.now > 0 else 1.0)
            return kept.to(weight.dtype)
        count = int(self.now * scores.numel() + 1e-9)
        ranked = scores.flatten().sort(descending=True)
        if count < scores.numel():
            margins.append((ranked.values[count - 1] - ranked.values[count]).item())
        mask = torch.zeros_like(ranked.values)
        mask[ranked.indices[:count]] = 1
        return mask.view_as(weight)

    def forward(self, weight):
        return weight * StraightThrough.apply(self.scores, self.mask(weight))


def cubic(step, steps, start, goal):
    if step <= FIRST:
        return start
    if step >= steps - LAST:
        return goal
    return goal + (start - goal) * (1 - (step - FIRST) / (steps - FIRST - LAST)) ** 3


def batch(chosen):
    width = max(len(rows[row]["ids"]) for row in chosen)
    padded = lambda field: torch.tensor([rows[row][field] + [0] * (width - len(rows[row][field])) for row in chosen])
    mask = torch.tensor([[1] * len(rows[row]["ids"]) + [0] * (width - len(rows[row]["ids"])) for row in chosen])
    labels = torch.tensor([rows[row]["label"] for row in chosen])
    return dict(input_ids=padded("ids"), token_type_ids=padded("segments"), attention_mask=mask, labels=labels)


def train(method):
    config = {key: value for key, value in trajectory["config"].items() if key not in ("id2label", "label2id", "problem_type", "num_labels")}
    model = BertForSequenceClassification(BertConfig(**config, num_labels=3, problem_type="single_label_classification"))
    model.load_state_dict(initial)
    model = model.double().train()
    model.bert.embeddings.requires_grad_(False)
    maps = {f"{name}.weight": module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and ".layer." in name}
    pruned = {}
    for name, module in maps.items():
        pruned[name] = Pruned(method, module.weight)
        pruned[name].now = 0.0 if method == "soft" else 1.0
        parametrize.register_parametrization(module, "weight", pruned[name])
    is_score = lambda name: name.endswith(".scores")
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [dict(params=[p for n, p in named if is_score(n)], weight_decay=0.0, lr=SCORE_RATE),
              dict(params=[p for n, p in named if plain(n) and not is_score(n)], weight_decay=0.0),
              dict(params=[p for n, p in named if not plain(n) and not is_score(n)], weight_decay=settings["weight_decay"])]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, 0.999), eps=settings["adam_epsilon"])
    steps = [chosen[at:at + BATCH] for chosen in order for at in range(0, len(chosen), BATCH)]
    scheduler = get_linear_schedule_with_warmup(optimizer, WARMUP, len(steps))
    losses = []
    for step, chosen in enumerate(steps, 1):
        now = cubic(step, len(steps), *((0.0, THRESHOLD) if method == "soft" else (1.0, KEEP)))
        for one in pruned.values():
            one.now = now
        loss = model(**batch(chosen)).loss
        losses.append(loss.item())
        if method == "soft":
            pressure = sum(torch.sigmoid(one.scores).mean() for one in pruned.values()) / len(pruned)
            loss = loss + WEIGHT * now / THRESHOLD * pressure
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], settings["max_grad_norm"])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    weights = {name: module.weight.detach().float().contiguous() for name, module in maps.items()}
    kept = {name: int((weight != 0).sum()) / weight.numel() for name, weight in weights.items()}
    print(method, "losses", losses, "kept", min(kept.values()), max(kept.values()))
    return losses, weights


record, tensors = dict(score_learning_rate=SCORE_RATE, initial_warmup=FIRST / 10, final_warmup=LAST / 10, keep=KEEP,
                       threshold=THRESHOLD, score_weight=WEIGHT), {}
for method in ("movement", "soft", "magnitude"):
    margins.clear()
    record[method], weights = train(method)
    print("margin", min(margins))
    tensors |= {f"{method}.{name}": weight for name, weight in weights.items()}
save_file(tensors, folder / "pruning.safetensors")
(folder / "pruning.json").write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
