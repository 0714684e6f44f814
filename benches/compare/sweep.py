#!/usr/bin/env python3
"""Trains five seeds of a method in one process and one after the other, and prints wall-clock times, tokens per second and their ratio.

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
pipeline tries = base -> peft({method}) -> each(seed in 1..{seeds}) finetune(rows, epochs = {epochs}, batch_size = {batch}, learning_rate = 1e-3)
"""


def run(args, folder, method, batch, together):
    """Seconds of `ftp run` with a new store, and the output digest of every stage."""
    source = "labelled" if "text" in json.loads((folder / "train.jsonl").open(encoding="utf-8").readline()) else "pairs"
    text = FILE.format(model=args.model.resolve(), data=folder, source=source, method=METHODS[method], seeds=args.seeds,
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
    return seconds, {event["stage"]: event["output"] for event in events if event["event"] == "stage_finished"}


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
        print("| | one after the other s | tokens/s | together s | tokens/s | ratio |\n| --- | --: | --: | --: | --: | --: |")
        for method in args.methods:
            for batch in args.batches:
                seconds, outputs = {True: [], False: []}, []
                for _ in range(args.repeats):
                    for together in (False, True):
                        took, found = run(args, folder, method, batch, together)
                        seconds[together].append(took)
                        outputs.append(found)
                        singles.append(dict(method=method, batch=batch, together=together, seconds=took, tokens=tokens))
                if any(found != outputs[0] for found in outputs):
                    sys.exit(f"{method}: the output digests differ")
                one, all_ = (statistics.median(seconds[together]) for together in (False, True))
                print(f"| {method}, batch {batch} | {one:.1f} | {tokens / one:,.0f} | {all_:.1f} | {tokens / all_:,.0f} | {one / all_:.2f} |", flush=True)
    print(f"\nmost memory of a process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:,.0f} MiB")
    if args.out:
        args.out.write_text(json.dumps(singles, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
