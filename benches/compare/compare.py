#!/usr/bin/env python3
"""Trains the same models on the same rows in `ftp` and in PyTorch + transformers, and prints tokens per second and memory.

    python compare.py --ftp target/release/ftp --model models/minilm --sst2 SST2 --mnli MNLI --text corpus.txt --threads 2

See README.md for what the rows of the table are and what is counted.
"""
import argparse, importlib.metadata, json, os, pathlib, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / "tests" / "parity"))

WARM = 3  # steps PyTorch takes before its clock starts
SETTINGS = "batch_size = {batch}, learning_rate = {lr}, warmup = 10 %, max_length = 128, precision = {precision}, seed = {seed}"
LABELLED = """
let base = hf("{model}")
let rows = {source}("{data}/{{train,dev}}.jsonl")
pipeline compared = base -> {peft}finetune(rows, keep = last, {length}, """ + SETTINGS + """)
"""
UNLABELLED = """
let base = hf("{model}")
let document = text("{data}/document.txt")
pipeline compared = base -> adapt(document, {length}, """ + SETTINGS + """)
"""
SST2 = dict(data="sst2", source="labelled", batch=32, lr=5e-5, method="full", task="sequence", labels=2)
MNLI = SST2 | dict(data="mnli", source="pairs", lr=1e-3, labels=3)
ROWS = {
    "full": ("full fine-tuning, SST-2, batch 32", SST2),
    "rows-128": ("full fine-tuning, rows of 128 tokens, batch 16", SST2 | dict(data="rows-128", batch=16)),
    "mlm": ("masked LM, 4 layers, d 256, rows of 128 tokens, batch 32", dict(data="text", batch=32, lr=5e-4, method="full", task="mlm")),
    "bitfit": ("BitFit, MNLI, batch 32", MNLI | dict(method="bitfit", peft="peft(bitfit) -> ")),
    "lora": ("LoRA, rank 8, MNLI, batch 32", MNLI | dict(method="lora", peft="peft(lora, rank = 8) -> ")),
    "head": ("head only, 5 epochs, SST-2, batch 32", SST2 | dict(method="head", peft="peft(last_layers) -> ", lr=1e-3, epochs=5)),
    "full-no-tiles": ("full fine-tuning, SST-2, without matrix tiles", SST2 | dict(tiles=False)),
    "rows-128-no-tiles": ("rows of 128 tokens, without matrix tiles", SST2 | dict(data="rows-128", batch=16, tiles=False)),
    "full-bf16": ("full fine-tuning, SST-2, bf16", SST2 | dict(precision="bf16")),
    "rows-128-bf16": ("rows of 128 tokens, bf16", SST2 | dict(data="rows-128", batch=16, precision="bf16")),
}
DEFAULTS = dict(peft="", epochs=1, tiles=True, precision="f32")


def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def prepare(name, args, folder):
    """Writes the data of a row of the table, and for `mlm` a model without training; returns its recipe."""
    recipe = DEFAULTS | ROWS[name][1] | dict(model=str(args.model.resolve()), folder=str(folder), steps=args.steps)
    needed = args.steps * recipe["batch"]
    if recipe["task"] == "mlm":
        recipe["model"] = str(folder / "model")
        measured([sys.executable, HERE, "--fresh-model", folder / "model", "--text", args.text])
        text = args.text.read_text(encoding="utf-8").split()
        if len(text) < 126 * needed:
            sys.exit(f"{args.text} has {len(text):,} words; {126 * needed:,} are needed, or fewer --steps")
        # One document, which both sides cut into rows of 128 tokens; a word is at least one token.
        (folder / "document.txt").write_text(" ".join(text[:126 * needed]), encoding="utf-8")
        return recipe
    rows = read_jsonl((args.mnli if recipe["data"] == "mnli" else args.sst2) / "train.jsonl")
    if recipe["data"] == "rows-128":  # several texts end to end, cut at 128 tokens by both sides
        rows = [dict(text=" ".join(row["text"] for row in rows[at:at + 16]), label=rows[at]["label"])
                for at in range(0, len(rows) - 16, 16)]
    rows = (rows * (needed // len(rows) + 1))[:needed]  # no row twice unless the set is small
    write_jsonl(folder / "train.jsonl", rows)
    write_jsonl(folder / "dev.jsonl", rows[:8])
    return recipe


def fresh_model(text, folder):
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train([str(text)], vocab_size=8000, show_progress=False)
    special = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]")
    PreTrainedTokenizerFast(tokenizer_object=wordpiece._tokenizer, **special).save_pretrained(folder)
    config = BertConfig(vocab_size=wordpiece.get_vocab_size(), hidden_size=256, num_hidden_layers=4,
                        num_attention_heads=4, intermediate_size=1024, max_position_embeddings=128)
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)


def measured(command, **options):
    """Runs a command; its output and the most memory it or a process under it held, in MiB. The system counts this
    process's own memory in, so nothing large is imported here."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, text=True, **options)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{command[0]} failed ({process.returncode}):\n{out.read()[-2000:]}\n{err.read()[-2000:]}")
        return out.read(), usage.ru_maxrss / 1024


def run_ftp(recipe, args, folder, seed, tokens):
    """Tokens per second and MiB of one run, as `ftp run --json` says them: over the last seconds of it, or, where every
    epoch counts, `tokens` over the whole stage with loading and saving."""
    template = UNLABELLED if recipe["task"] == "mlm" else LABELLED
    length = f"steps = {recipe['steps']}" if recipe["epochs"] == 1 else f"epochs = {recipe['epochs']}"
    file = template.format(length=length, seed=seed, **(recipe | dict(data=folder)))
    (folder / "compared.ftp").write_text(file, encoding="utf-8")
    env = os.environ | {"RAYON_NUM_THREADS": str(args.threads)} | ({} if recipe["tiles"] else {"FTP_TILES": "off"})
    with tempfile.TemporaryDirectory() as store:
        command = [args.ftp.resolve(), "run", "compared.ftp", "--json", "--store", store]
        out, memory = measured(command, cwd=folder, env=env)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if recipe["epochs"] > 1:
        seconds = [event["seconds"] for event in events if event.get("event") == "stage_finished"][-1]
        return tokens / seconds, memory
    return [event["tokens_per_second"] for event in events if event.get("event") == "progress"][-1], memory


def order(seed, epoch, count):
    """The order in which ftp takes rows."""
    import numpy
    from counter_random import Key
    key, rows = Key.new(seed, "shuffle").at(epoch), list(range(count))
    draws = key.bits(numpy.arange(count // 4 + 1))
    for last in range(count - 1, 0, -1):
        other = int(draws[last % 4][last // 4]) * (last + 1) >> 32
        rows[last], rows[other] = rows[other], rows[last]
    return rows


def batches(recipe, tokenizer, folder, seed):
    """The rows of every step, in ftp's order; padded to their longest row."""
    if recipe["task"] == "mlm":
        from transformers import DataCollatorForLanguageModeling
        ids = tokenizer((folder / "document.txt").read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        rows = [dict(input_ids=[first, *ids[at:at + 126], last]) for at in range(0, len(ids), 126)]
        collate = DataCollatorForLanguageModeling(tokenizer)
    else:
        records = read_jsonl(folder / "train.jsonl")
        labels = sorted({record["label"] for record in records})
        text = (lambda r: (r["premise"], r["hypothesis"])) if recipe["source"] == "pairs" else lambda r: (r["text"],)
        rows = [dict(tokenizer(*text(record), truncation=True, max_length=128), labels=labels.index(record["label"]))
                for record in records]
        collate = lambda part: tokenizer.pad(part, return_tensors="pt")
    size, steps = recipe["batch"], []
    for epoch in range(recipe["epochs"]):
        taken = order(seed, epoch, len(rows))
        steps += [collate([rows[row] for row in taken[at:at + size]]) for at in range(0, recipe["steps"] * size, size)]
    return steps


def torch_side(recipe, threads, seed):
    """Prints tokens (padding not counted) per second of the steps after the first few, and tokens of all steps."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    folder = pathlib.Path(recipe["folder"])
    tokenizer = AutoTokenizer.from_pretrained(recipe["model"])
    if recipe["task"] == "mlm":
        model = AutoModelForMaskedLM.from_pretrained(recipe["model"])
    else:
        model = AutoModelForSequenceClassification.from_pretrained(recipe["model"], num_labels=recipe["labels"])
    if recipe["method"] == "lora":
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value"]))
    elif recipe["method"] != "full":
        for name, parameter in model.named_parameters():
            bias = recipe["method"] == "bitfit" and "bias" in name
            parameter.requires_grad_(bias or name.startswith("classifier"))
    model.train()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = lambda name: name.endswith("bias") or "LayerNorm" in name
    groups = [dict(params=[p for n, p in trained if not plain(n)], weight_decay=0.01),
              dict(params=[p for n, p in trained if plain(n)], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=recipe["lr"])
    prepared = batches(recipe, tokenizer, folder, seed)
    schedule = get_linear_schedule_with_warmup(optimizer, len(prepared) // 10, len(prepared))
    tokens = 0
    for step, batch in enumerate(prepared):
        if step == WARM:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe["precision"] == "bf16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step >= WARM:
            tokens += int(batch["attention_mask"].sum())
    seconds = time.perf_counter() - began
    total = sum(int(batch["attention_mask"].sum()) for batch in prepared)
    print(json.dumps(dict(tokens_per_second=tokens / seconds, tokens=total)))


def run_torch(recipe, args, seed):
    out, memory = measured([sys.executable, HERE, "--torch-side", json.dumps(recipe), "--threads", args.threads, "--seed", seed])
    said = json.loads(out.splitlines()[-1])
    return said["tokens_per_second"], memory, said["tokens"]


def compare(name, args):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        recipe = prepare(name, args, folder)
        ours, theirs = [], []
        for seed in range(args.repeats):  # in turns, so that a busy machine slows both
            theirs.append(run_torch(recipe, args, seed))
            ours.append(run_ftp(recipe, args, folder, seed, theirs[-1][2]))
    middle = lambda runs, which: statistics.median(run[which] for run in runs)
    speeds, memory = [[middle(side, which) for side in (ours, theirs)] for which in (0, 1)]
    print(f"| {ROWS[name][0]} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {speeds[0] / speeds[1]:.2f} "
          f"| {memory[0]:,.0f} | {memory[1]:,.0f} | {memory[0] / memory[1]:.2f} |", flush=True)
    return dict(row=name, ftp=ours, torch=theirs, speed=speeds[0] / speeds[1], memory=memory[0] / memory[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ftp", type=pathlib.Path, help="the release binary")
    parser.add_argument("--model", type=pathlib.Path, help="Hugging Face directory of a small BERT")
    parser.add_argument("--sst2", type=pathlib.Path, help="directory with train.jsonl (text, label)")
    parser.add_argument("--mnli", type=pathlib.Path, help="directory with train.jsonl (premise, hypothesis, label)")
    parser.add_argument("--text", type=pathlib.Path, help="a text of at least 126 * 32 * steps words")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--busy", action="store_true", help="measure although other programs are running")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("compare.json"))
    parser.add_argument("--torch-side", help=argparse.SUPPRESS)
    parser.add_argument("--fresh-model", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_side:
        return torch_side(json.loads(args.torch_side), args.threads, args.seed)
    if args.fresh_model:
        return fresh_model(args.text, args.fresh_model)
    missing = [name for name in ("ftp", "model", "sst2", "mnli", "text") if getattr(args, name) is None]
    if missing:
        parser.error("missing: " + ", ".join("--" + name for name in missing))
    if args.steps <= WARM:
        parser.error(f"--steps must be above {WARM}")
    if os.getloadavg()[0] > 0.5 and not args.busy:
        parser.error(f"the machine is busy (load {os.getloadavg()[0]:.2f}): wait, or say --busy and do not quote the figures")
    tiles = "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    rows = [name for name in args.rows if tiles or not name.endswith("no-tiles")]
    if len(rows) < len(args.rows):
        print("This processor has no matrix tiles: all rows are without.\n")
    print("| | ftp tokens/s | PyTorch tokens/s | ratio | ftp MiB | PyTorch MiB | ratio |")
    print("| --- | --: | --: | --: | --: | --: | --: |", flush=True)
    results = [compare(name, args) for name in rows]
    version = importlib.metadata.version
    machine = dict(torch=version("torch"), transformers=version("transformers"), peft=version("peft"), threads=args.threads, steps=args.steps, tiles=tiles)
    args.out.write_text(json.dumps(dict(machine=machine, rows=results), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
