"""`transformers` and `peft` on the rows and with the settings of `full`, `biases` and `low_rank` in pipelines/efficient.ftp, a row of a
Markdown table for each task: mean and standard deviation over seeds on the test split (dev where there is none), of the epoch that is best on dev.

    pip install torch transformers peft
    python benches/results/reference.py low_rank --model MINILM --out peft.jsonl cola=/data/cola mrpc=/data/mrpc

A directory has train, dev and maybe test.jsonl, with `text`, or two texts, and `label`.
"""

import argparse
import json
import math
import pathlib
import random
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# Epochs and learning rate.
SETTINGS = {"full": (3, 5e-5), "biases": (5, 1e-3), "low_rank": (5, 1e-3)}
PAIRS = [("text_a", "text_b"), ("premise", "hypothesis"), ("sentence1", "sentence2")]


def rows_of(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = next(names for names in [("text",), *PAIRS] if names[0] in rows[0])
    return [([row[name] for name in names], row["label"]) for row in rows]


def scores(predicted, wanted):
    accuracy = sum(one == other for one, other in zip(predicted, wanted)) / len(wanted)
    count = lambda one, other: sum(p == one and w == other for p, w in zip(predicted, wanted))
    tp, tn, fp, fn = count(1, 1), count(0, 0), count(1, 0), count(0, 1)
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"accuracy": accuracy, "matthews": (tp * tn - fp * fn) / below if below else 0.0}


def train(given, splits, labels, seed):
    epochs, learning_rate = SETTINGS[given.method]
    torch.manual_seed(seed)
    order = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForSequenceClassification.from_pretrained(given.model, num_labels=len(labels))
    if given.method == "low_rank":
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
    elif given.method == "biases":
        for name, weight in model.named_parameters():
            weight.requires_grad = name.endswith("bias") or name.startswith("classifier")
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight for name, weight in trained if not plain(name)], "weight_decay": 0.01},
            {"params": [weight for name, weight in trained if plain(name)], "weight_decay": 0.0},
        ],
        lr=learning_rate,
    )
    rows = splits["train"]
    steps = math.ceil(len(rows) / given.batch_size) * epochs
    warmup = 0.1 * steps
    rate = lambda step: step / warmup if step < warmup else (steps - step) / (steps - warmup)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def encoded(batch):
        texts = zip(*(texts for texts, _ in batch))
        tokens = tokenizer(*map(list, texts), truncation=True, max_length=128, padding=True, return_tensors="pt")
        return tokens, torch.tensor([labels.index(label) for _, label in batch])

    def evaluated(split):
        model.eval()
        predicted, wanted = [], []
        with torch.no_grad():
            for at in range(0, len(split), 64):
                tokens, targets = encoded(split[at : at + 64])
                predicted += model(**tokens).logits.argmax(-1).tolist()
                wanted += targets.tolist()
        return scores(predicted, wanted)

    seconds, best = 0.0, None
    for epoch in range(epochs):
        shuffled = order.sample(rows, len(rows))
        model.train()
        begun = time.monotonic()
        for at in range(0, len(rows), given.batch_size):
            tokens, targets = encoded(shuffled[at : at + given.batch_size])
            torch.nn.functional.cross_entropy(model(**tokens).logits, targets).backward()
            torch.nn.utils.clip_grad_norm_([weight for _, weight in trained], 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        seconds += time.monotonic() - begun
        dev = evaluated(splits["dev"])
        if best is None or dev["accuracy"] > best["dev"]["accuracy"]:
            best = {"epoch": epoch + 1, "dev": dev, "test": evaluated(splits["test"]) if "test" in splits else None}
    share = sum(weight.numel() for _, weight in trained) / sum(weight.numel() for weight in model.parameters())
    return {"method": given.method, "seed": seed, "seconds": seconds, "trained": share, **best}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=SETTINGS)
    parser.add_argument("tasks", nargs="+", help="NAME=DIRECTORY")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, help="every single training, as JSON lines")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| task | runs | accuracy | matthews | trained |\n| --- | --: | --: | --: | --: |", flush=True)
    for name, _, directory in (task.partition("=") for task in given.tasks):
        paths = {split: pathlib.Path(directory) / f"{split}.jsonl" for split in ["train", "dev", "test"]}
        splits = {split: rows_of(path) for split, path in paths.items() if path.exists()}
        labels = sorted({label for _, label in splits["train"]}, key=str)
        found = []
        for seed in given.seeds:
            found.append(train(given, splits, labels, seed))
            if given.out:
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"task": name, **found[-1]}) + "\n")
        of = lambda metric: [(one["test"] or one["dev"])[metric] for one in found]
        spread = lambda values: f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"
        share = f"{100 * found[0]['trained']:.3g} %"
        print(f"| {name} | {len(found)} | {spread(of('accuracy'))} | {spread(of('matthews'))} | {share} |", flush=True)


main()
