#!/usr/bin/env python3
"""Trains five seeds of a method each by itself, one after the other over one store, and in one process, and prints wall-clock times, tokens per
second and the ratios of the last to the others. Only by itself does every seed compute what the fixed layers of the model make of the rows.

    python sweep.py --ftp target/release/ftp --model models/minilm --data SST2 --rows 1280 --epochs 1

See README.md for what is counted.
"""
import argparse, json, os, pathlib, resource, statistics, subprocess, sys, tempfile, time

METHODS = {
    "bitfit": "bitfit",
    "lora": "lora, rank = 8",
    "adapter": "adapter",
    "last_layers 0": "last_layers",
    "last_layers 1": "last_layers, layers = 1",
}
FILE = """
let base = hf("{model}")
let rows = {source}("{data}/{{train,dev,test}}.jsonl")
pipeline tries = base -> peft({method}) -> each(seed in {seeds}) finetune(rows, epochs = {epochs}, batch_size = {batch}, learning_rate = 1e-3)
"""


def run(args, folder, method, batch, seeds, together):
    """Seconds of `ftp run` with a new store, and the output digests of the stages."""
    source = "labelled" if "text" in json.loads((folder / "train.jsonl").open(encoding="utf-8").readline()) else "pairs"
    text = FILE.format(model=args.model.resolve(), data=folder, source=source, method=METHODS[method], seeds=list(seeds),
                       epochs=args.epochs, batch=batch)
    (folder / "sweep.ftp").write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as store:
        command = [str(args.ftp.resolve()), "run", "sweep.ftp", "--json", "--store", store] + ([] if together else ["--no-sweep"])
        begun = time.monotonic()
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.monotonic() - begun
    if ended.returncode != 0:
        sys.exit(f"ftp failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    return seconds, {event["output"] for event in events if event["event"] == "stage_finished"}


def alone(args, folder, method, batch, seeds):
    """As `run`, of every seed in a store of its own."""
    runs = [run(args, folder, method, batch, [seed], True) for seed in seeds]
    return sum(seconds for seconds, _ in runs), set().union(*(found for _, found in runs))


def tokens_of(args, folder):
    """Tokens of the training rows, special ones included, cut as ftp cuts them by default."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.no_padding()
    rows = [json.loads(line) for line in (folder / "train.jsonl").open(encoding="utf-8")]
    pair = lambda row: (row["text"], ) if "text" in row else (row["text_a"], row["text_b"])
    return sum(len(tokenizer.encode(*pair(row)).ids) for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ftp", type=pathlib.Path, default=pathlib.Path("target/release/ftp"))
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="train, dev and test.jsonl with `text`, or `text_a` and `text_b`, and `label`")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--batches", nargs="*", type=int, default=[32, 16])
    parser.add_argument("--rows", type=int, default=1280, help="training rows; a quarter of it of dev and of test")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="every single run, as JSON")
    args = parser.parse_args()
    singles = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for split, count in [("train", args.rows), ("dev", args.rows // 4), ("test", args.rows // 4)]:
            lines = (args.data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines(True)
            (folder / f"{split}.jsonl").write_text("".join(lines[:count]), encoding="utf-8")
        tokens = tokens_of(args, folder) * args.epochs * args.seeds
        print(f"{args.seeds} seeds, {args.rows} rows, {args.epochs} epochs, {os.cpu_count()} cores, medians of {args.repeats}\n")
        print("| | by itself s | tokens/s | one after the other s | tokens/s | together s | tokens/s | to by itself | to one after the other |")
        print("| --- |" + " --: |" * 8)
        seeds = range(1, args.seeds + 1)
        ways = {
            "by itself": lambda *what: alone(args, folder, *what, seeds),
            "one after the other": lambda *what: run(args, folder, *what, seeds, False),
            "together": lambda *what: run(args, folder, *what, seeds, True),
        }
        for method in args.methods:
            for batch in args.batches:
                seconds, outputs = {way: [] for way in ways}, []
                for _ in range(args.repeats):
                    for way, train in ways.items():
                        took, found = train(method, batch)
                        seconds[way].append(took)
                        outputs.append(found)
                        singles.append(dict(method=method, batch=batch, way=way, seconds=took, tokens=tokens))
                if any(found != outputs[0] for found in outputs):
                    sys.exit(f"{method}: the output digests differ")
                medians = [statistics.median(took) for took in seconds.values()]
                cells = [f"{took:.1f} | {tokens / took:,.0f}" for took in medians]
                cells += [f"{took / medians[-1]:.2f}" for took in medians[:-1]]
                print(f"| {method}, batch {batch} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nmost memory of a process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:,.0f} MiB")
    if args.out:
        args.out.write_text(json.dumps(singles, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
