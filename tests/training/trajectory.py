#!/usr/bin/env python3
"""Writes trajectory.json and trajectory.safetensors: ten steps of fine-tuning a tiny BERT with transformers and torch.

    python trajectory.py        # writes beside itself

AdamW, clipping and linear warm-up, no dropout, everything in float64. Adam's epsilon is large so that the scale of
gradients shows (Adam is blind to it otherwise) and the rounding noise of gradients that are zero does not.
`tests/training.rs` trains from the same weights on the same rows and compares losses and final weights. ORDER is the
order in which `random::Key` (seed 0) visits the rows; a test fails by name should that ever change.
"""
import json, pathlib
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

ORDER = [
    [17, 2, 14, 4, 19, 7, 9, 0, 18, 6, 15, 10, 12, 3, 11, 8, 13, 5, 1, 16],
    [10, 16, 11, 15, 18, 8, 1, 2, 9, 17, 7, 13, 14, 4, 6, 5, 12, 19, 3, 0],
]
BATCH, WARMUP, LR, DECAY, EPSILON, MAX_NORM = 4, 3, 5e-3, 0.1, 1e-3, 1.5
CONFIG = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
              max_position_embeddings=24, type_vocab_size=2, initializer_range=0.2, hidden_dropout_prob=0.0,
              attention_probs_dropout_prob=0.0)

random = torch.Generator().manual_seed(3)
rows = []
for length in torch.randint(2, 17, (20,), generator=random).tolist():
    ids = [2] + torch.randint(5, 40, (length,), generator=random).tolist() + [3]
    second = int(torch.randint(1, length + 2, (1,), generator=random))  # where the second text begins
    rows.append(dict(ids=ids, segments=[int(at >= second) for at in range(len(ids))],
                     label=int(torch.randint(0, 3, (1,), generator=random)),
                     score=round(float(torch.randn(1, generator=random)), 3)))


def batch(chosen, task):
    width = max(len(rows[row]["ids"]) for row in chosen)
    padded = lambda field: torch.tensor([rows[row][field] + [0] * (width - len(rows[row][field])) for row in chosen])
    mask = torch.tensor([[1] * len(rows[row]["ids"]) + [0] * (width - len(rows[row]["ids"])) for row in chosen])
    labels = torch.tensor([rows[row]["label" if task == "classification" else "score"] for row in chosen])
    if task == "regression":
        labels = labels.double()
    return dict(input_ids=padded("ids"), token_type_ids=padded("segments"), attention_mask=mask, labels=labels)


def train(task):
    torch.manual_seed(1)
    problem = "single_label_classification" if task == "classification" else "regression"
    model = BertForSequenceClassification(BertConfig(**CONFIG, num_labels=3 if task == "classification" else 1,
                                                     problem_type=problem))
    with torch.no_grad():  # biases and norms that differ from 0 and 1, so that mistaking one for another shows
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    weights = lambda: {name: value.float().contiguous() for name, value in model.state_dict().items()}
    initial = weights()
    model = model.double().train()
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    groups = [dict(params=[p for n, p in model.named_parameters() if not plain(n)], weight_decay=DECAY),
              dict(params=[p for n, p in model.named_parameters() if plain(n)], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.999), eps=EPSILON)
    steps = [order[at:at + BATCH] for order in ORDER for at in range(0, len(order), BATCH)]
    scheduler = get_linear_schedule_with_warmup(optimizer, WARMUP, len(steps))
    losses, norms = [], []
    for chosen in steps:
        loss = model(**batch(chosen, task)).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item())
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    print(task, "losses", losses, "norms", norms)
    return initial, weights(), losses


folder = pathlib.Path(__file__).parent
initial, final, losses = train("classification")
other, _, regression_losses = train("regression")
tensors = {f"initial.{name}": value for name, value in initial.items()}
tensors |= {f"final.{name}": value for name, value in final.items()}
tensors |= {f"regression.{name}": value for name, value in other.items()}
save_file(tensors, folder / "trajectory.safetensors")
config = BertConfig(**CONFIG).to_dict() | {"architectures": ["BertForSequenceClassification"]}
settings = dict(batch_size=BATCH, warmup=WARMUP, learning_rate=LR, weight_decay=DECAY, adam_epsilon=EPSILON,
                max_grad_norm=MAX_NORM)
record = dict(config=config, settings=settings, order=ORDER, rows=rows, losses=losses, regression_losses=regression_losses)
(folder / "trajectory.json").write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
