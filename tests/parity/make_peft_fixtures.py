"""Makes the fixtures of `src/methods/peft_parity.rs`: what `peft` computes with virtual tokens on the small random models
beside this file, in float64, without dropout.

    pip install torch transformers==5.23.0 peft==0.21.2 safetensors
    python tests/parity/make_peft_fixtures.py       # writes tests/parity/fixtures/peft/MODEL-METHOD.safetensors

Each file holds the delta's parameters under the names `ftp` gives them, `logits` of the sequences in the model's `case.json`, and
`gradient.NAME` of the sum of the logits weighted by cos(0.5), cos(1.5), ... row by row.
"""

import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import torch
import transformers
from safetensors.torch import save_file

torch.set_num_threads(1)
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
TOKENS, INNER = 3, 10


def configs():
    common = {"task_type": "SEQ_CLS", "num_virtual_tokens": TOKENS}
    return {
        "prompt": peft.PromptTuningConfig(**common),
        "p_tuning": peft.PromptEncoderConfig(**common, encoder_hidden_size=INNER),
        "prefix": peft.PrefixTuningConfig(**common),
        "prefix_projection": peft.PrefixTuningConfig(**common, prefix_projection=True, encoder_hidden_size=INNER),
    }


def ours(name, value, layers):
    """The parameters of `ftp` that hold the rows (or columns) of one of `peft`'s prompt encoder."""
    if name == "embedding.weight" and value.shape[1] % (2 * layers) == 0 and value.shape[1] // (2 * layers) > 1:
        parts, pattern = value.chunk(2 * layers, dim=1), "prefixes.0.layer.{}.{}"
    elif name.startswith("transform.2."):
        parts, pattern = value.chunk(2 * layers, dim=0), "prefixes.0.layer.{}.{}" + name.removeprefix("transform.2")
    else:
        return None
    return {pattern.format(at // 2, ["key", "value"][at % 2]): part for at, part in enumerate(parts)}


def make(model_name, method, config):
    folder = FIXTURES / model_name
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float64)
    case = json.loads((folder / "case.json").read_text())
    torch.manual_seed(1)
    wrapped = peft.get_peft_model(model, config).double().eval()
    encoder = wrapped.prompt_encoder["default"]
    logits = []
    for ids, segments in zip(case["ids"], case["segments"]):
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if "bert" == model.config.model_type:
            inputs["token_type_ids"] = torch.tensor([segments])
        logits.append(wrapped(**inputs).logits[0])
    logits = torch.stack(logits)
    weights = torch.cos(torch.arange(logits.numel(), dtype=torch.float64) + 0.5).reshape(logits.shape)
    (logits * weights).sum().backward()
    prefixed, layers = method.startswith("prefix"), model.config.num_hidden_layers
    tensors = {"logits": logits.detach()}
    for name, parameter in encoder.named_parameters():
        for kind, value in [("", parameter.detach()), ("gradient.", parameter.grad)]:
            whole = prefixed and name == "embedding.weight" and method == "prefix_projection"
            split = None if not prefixed or whole else ours(name, value, layers)
            named = split or {("prefixes.0." if prefixed else "prompts.0.") + name: value}
            tensors |= {kind + name: part.float().contiguous() for name, part in named.items()}
    tensors["logits"] = tensors["logits"].float()
    directory = FIXTURES / "peft"
    directory.mkdir(exist_ok=True)
    save_file(tensors, directory / f"{model_name}-{method}.safetensors")


for model_name in ["bert_sequence", "roberta_sequence"]:
    for method, config in configs().items():
        make(model_name, method, config)
