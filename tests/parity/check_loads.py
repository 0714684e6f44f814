"""Loads a published classification model with `transformers` and prints what it says about texts.

    python tests/parity/check_loads.py DIRECTORY "a text" "another text" ...
    python tests/parity/check_loads.py DIRECTORY --pair "a premise" "a hypothesis"

Fails when a tensor is missing, unexpected or of another shape, or when the tokenizer does not load. Not part of
`cargo test`: it needs `pip install torch transformers`.
"""

import argparse
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("directory")
parser.add_argument("texts", nargs="*")
parser.add_argument("--pair", nargs=2, action="append", default=[], metavar=("PREMISE", "HYPOTHESIS"))
arguments = parser.parse_args()

model, info = AutoModelForSequenceClassification.from_pretrained(arguments.directory, output_loading_info=True)
problems = {kind: names for kind, names in info.items() if names and kind.endswith(("keys", "msgs"))}
assert not problems, f"not what transformers expects: {problems}"
print(f"{type(model).__name__}, {model.num_parameters():,} parameters, problem_type {model.config.problem_type}")
print("labels", list(model.config.id2label.values()))

model.eval()
inputs = [(text,) for text in arguments.texts] + [tuple(pair) for pair in arguments.pair]
if inputs:
    tokenizer = AutoTokenizer.from_pretrained(arguments.directory)
for texts in inputs:
    with torch.no_grad():
        logits = model(**tokenizer(*texts, return_tensors="pt", truncation=True)).logits[0]
    says = "" if model.config.num_labels == 1 else model.config.id2label[int(logits.argmax())]
    print(" | ".join(texts), [round(value, 5) for value in logits.tolist()], says)
