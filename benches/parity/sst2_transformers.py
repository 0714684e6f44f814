#!/usr/bin/env python3
"""Fine-tunes a Hugging Face BERT on SST-2 with `transformers`: the other side of docs/parity.md.

    python sst2_transformers.py --model DIR --data DIR --method full|bitfit --seeds 1 2 3 [--threads 2]

DATA holds train.jsonl, dev.jsonl and test.jsonl with `text` and `label`. One JSON line per epoch and seed goes to
standard output. The set-up is the one `pipelines/minilm.ftp` states: batch 32, linear warm-up over 10 % of the steps,
AdamW (0.9, 0.999, eps 1e-8, weight decay 0.01 on all but biases and norms), clipping at global norm 1, 128 tokens.

With --group-by-length rows of similar length come together, as `group_by_length` of the Trainer does (shuffled, then sorted inside
stretches of 50 batches): the same steps with less padding, so that a CPU is done sooner.

    full:    3 epochs, lr 5e-5, all weights
    bitfit:  5 epochs, lr 1e-3, every parameter whose name contains `bias`, and the classifier
"""
import argparse, json, random, time
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

RECIPES = {"full": dict(epochs=3, lr=5e-5), "bitfit": dict(epochs=5, lr=1e-3)}


def rows(path, labels):
    with open(path, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [(r["text"], labels.index(r["label"])) for r in records]


def batches(tokenizer, data, size):
    for start in range(0, len(data), size):
        part = data[start:start + size]
        batch = tokenizer([t for t, _ in part], truncation=True, max_length=128, padding="longest", return_tensors="pt")
        batch["labels"] = torch.tensor([y for _, y in part])
        yield batch


def grouped(data):
    stretch = 50 * 32
    parts = [sorted(data[at:at + stretch], key=lambda row: len(row[0])) for at in range(0, len(data), stretch)]
    steps = [part[at:at + 32] for part in parts for at in range(0, len(part), 32)]
    whole, short = [s for s in steps if len(s) == 32], [s for s in steps if len(s) < 32]
    random.shuffle(whole)
    return [row for step in whole + short for row in step]


@torch.no_grad()
def accuracy(model, tokenizer, data):
    model.eval()
    order = sorted(data, key=lambda row: len(row[0]))
    right = sum((model(**b).logits.argmax(-1) == b["labels"]).sum().item() for b in batches(tokenizer, order, 64))
    return right / len(data)


def run(args, seed):
    random.seed(seed)
    torch.manual_seed(seed)
    labels = ["negative", "positive"]
    train, dev, test = (rows(f"{args.data}/{split}.jsonl", labels) for split in ("train", "dev", "test"))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2)
    recipe = RECIPES[args.method]
    if args.method == "bitfit":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("bias" in name or name.startswith("classifier"))
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = [p for n, p in trained if n.endswith("bias") or "LayerNorm" in n]
    decayed = [p for n, p in trained if not (n.endswith("bias") or "LayerNorm" in n)]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=recipe["lr"], eps=1e-8)
    steps = recipe["epochs"] * -(-len(train) // 32)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    for epoch in range(recipe["epochs"]):
        began, tokens = time.time(), 0
        model.train()
        random.shuffle(train)
        for batch in batches(tokenizer, grouped(train) if args.group_by_length else train, 32):
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += int(batch["attention_mask"].sum())
        seconds = time.time() - began
        print(json.dumps(dict(side="transformers", method=args.method, seed=seed, epoch=epoch + 1,
                              loss=round(loss.item(), 4), dev=accuracy(model, tokenizer, dev),
                              test=accuracy(model, tokenizer, test), tokens_per_second=round(tokens / seconds),
                              trained=sum(p.numel() for _, p in trained))), flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--method", choices=RECIPES, required=True)
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
parser.add_argument("--group-by-length", action="store_true")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
for seed in args.seeds:
    run(args, seed)
