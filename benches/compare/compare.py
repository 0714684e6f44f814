#!/usr/bin/env python3
"""Trains the same models on the same rows in `ftp` and in PyTorch + transformers, and prints tokens per second.

    python compare.py --ftp target/release/ftp --model models/minilm --data sst2 --text corpus.txt --threads 2

See README.md for what the rows of the table are and what is counted.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile, time

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import (AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, BertConfig,
                          BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast,
                          get_linear_schedule_with_warmup)

ROWS = {
    "full": "full fine-tuning, SST-2, batch 32",
    "bitfit": "BitFit, SST-2, batch 32",
    "rows-128": "full fine-tuning, rows of 128 tokens, batch 16",
    "mlm": "masked LM, 4 layers, d 256, rows of 128 tokens, batch 32",
}
SETTINGS = "steps = {steps}, batch_size = {batch}, learning_rate = {lr}, warmup = 10 %, max_length = 128, seed = {seed}"
LABELLED = """
let base = hf("{model}")
let rows = labelled("{data}/{{train,dev}}.jsonl")
pipeline compared = base -> {peft}finetune(rows, keep = last, """ + SETTINGS + """)
"""
UNLABELLED = """
let base = hf("{model}")
let document = text("{data}/document.txt")
pipeline compared = base -> adapt(document, """ + SETTINGS + """)
"""
WARM = 3  # steps PyTorch takes before its clock starts


def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def prepare(name, args, folder):
    """Writes the data of a row of the table, and for `mlm` a model without training; returns its recipe."""
    recipe = dict(model=args.model.resolve(), data=folder, batch=32, lr=5e-5, peft="", task="sequence")
    needed = lambda: args.steps * recipe["batch"]
    if name == "mlm":
        recipe |= dict(task="mlm", model=folder / "model", lr=5e-4)
        fresh_model(args.text, folder / "model")
        text = args.text.read_text(encoding="utf-8").split()
        if len(text) < 126 * needed():
            sys.exit(f"{args.text} has {len(text):,} words; {126 * needed():,} are needed, or fewer --steps")
        # One document, which both sides cut into rows of 128 tokens; a word is at least one token.
        (folder / "document.txt").write_text(" ".join(text[:126 * needed()]), encoding="utf-8")
        return recipe
    rows = read_jsonl(args.data / "train.jsonl")
    if name == "bitfit":
        recipe |= dict(peft="peft(bitfit) -> ", lr=1e-3)
    if name == "rows-128":  # several texts end to end, cut at 128 tokens by both sides
        recipe["batch"] = 16
        rows = [dict(text=" ".join(row["text"] for row in rows[at:at + 16]), label=rows[at]["label"])
                for at in range(0, len(rows) - 16, 16)]
    rows = (rows * (needed() // len(rows) + 1))[:needed()]  # no row twice unless the set is small
    write_jsonl(folder / "train.jsonl", rows)
    write_jsonl(folder / "dev.jsonl", rows[:8])
    return recipe


def fresh_model(text, folder):
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train([str(text)], vocab_size=8000)
    special = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]")
    PreTrainedTokenizerFast(tokenizer_object=wordpiece._tokenizer, **special).save_pretrained(folder)
    config = BertConfig(vocab_size=wordpiece.get_vocab_size(), hidden_size=256, num_hidden_layers=4,
                        num_attention_heads=4, intermediate_size=1024, max_position_embeddings=128)
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)


def run_ftp(recipe, args, folder, seed):
    """Tokens per second of one run, over the last seconds of it, as `ftp run --json` says them."""
    template = UNLABELLED if recipe["task"] == "mlm" else LABELLED
    (folder / "compared.ftp").write_text(template.format(steps=args.steps, seed=seed, **recipe), encoding="utf-8")
    with tempfile.TemporaryDirectory() as store:
        command = [args.ftp.resolve(), "run", "compared.ftp", "--json", "--store", store]
        env = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    speeds = [event["tokens_per_second"] for event in events if event.get("event") == "progress"]
    if done.returncode != 0 or not speeds:
        sys.exit(f"ftp failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return speeds[-1]


def batches(recipe, args, tokenizer, folder):
    """As many as there are steps; padded to their longest row."""
    if recipe["task"] == "mlm":
        ids = tokenizer((folder / "document.txt").read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        rows = [dict(input_ids=[first, *ids[at:at + 126], last]) for at in range(0, len(ids) - 125, 126)]
        collate = DataCollatorForLanguageModeling(tokenizer)
    else:
        records = read_jsonl(folder / "train.jsonl")
        labels = sorted({record["label"] for record in records})
        rows = [dict(tokenizer(record["text"], truncation=True, max_length=128), labels=labels.index(record["label"]))
                for record in records]
        collate = lambda part: tokenizer.pad(part, return_tensors="pt")
    order = torch.randperm(len(rows)).tolist()
    size = recipe["batch"]
    return [collate([rows[row] for row in order[at:at + size]]) for at in range(0, args.steps * size, size)]


def run_torch(recipe, args, folder, seed):
    """Tokens (padding not counted) per second of the steps after the first few."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(recipe["model"])
    load = AutoModelForMaskedLM if recipe["task"] == "mlm" else AutoModelForSequenceClassification
    model = load.from_pretrained(recipe["model"]).train()
    if recipe["peft"]:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("bias" in name or name.startswith("classifier"))
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    groups = [dict(params=[p for n, p in trained if not plain(n)], weight_decay=0.01),
              dict(params=[p for n, p in trained if plain(n)], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=recipe["lr"])
    schedule = get_linear_schedule_with_warmup(optimizer, args.steps // 10, args.steps)
    prepared = batches(recipe, args, tokenizer, folder)
    tokens = 0
    for step, batch in enumerate(prepared):
        if step == WARM:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step >= WARM:
            tokens += int(batch["attention_mask"].sum())
    return tokens / (time.perf_counter() - began)


def compare(name, args):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        recipe = prepare(name, args, folder)
        ours, theirs = [], []
        for seed in range(args.repeats):  # in turns, so that a busy machine slows both
            ours.append(run_ftp(recipe, args, folder, seed))
            theirs.append(run_torch(recipe, args, folder, seed))
    medians = statistics.median(ours), statistics.median(theirs)
    print(f"| {ROWS[name]} | {medians[0]:,.0f} | {medians[1]:,.0f} | {medians[0] / medians[1]:.2f} |", flush=True)
    return dict(row=name, ftp=ours, torch=theirs, ratio=medians[0] / medians[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ftp", type=pathlib.Path, required=True, help="the release binary")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="Hugging Face directory of a small BERT")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="directory with train.jsonl (text, label)")
    parser.add_argument("--text", type=pathlib.Path, required=True, help="a text of at least 126 * 32 * steps words")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bf16", action="store_true", help="PyTorch under bfloat16 autocast")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("compare.json"))
    args = parser.parse_args()
    if args.steps <= WARM:
        parser.error(f"--steps must be above {WARM}")
    torch.set_num_threads(args.threads)
    print("| | ftp tokens/s | PyTorch tokens/s | ratio |\n| --- | --: | --: | --: |")
    results = [compare(name, args) for name in args.rows]
    machine = dict(torch=torch.__version__, threads=args.threads, bf16=args.bf16, steps=args.steps)
    args.out.write_text(json.dumps(dict(machine=machine, rows=results), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
