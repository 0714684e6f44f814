"""Makes the fixtures of `tests/parity.rs`: small random models of the BERT family, what `transformers` computes with
them, and the gradients of every parameter, in float64.

    pip install torch transformers==5.23.0 safetensors numpy blake3
    python tests/parity/make_fixtures.py            # writes tests/parity/fixtures/NAME/

Each folder: `config.json` and `model.safetensors` as `save_pretrained` writes them; `case.json` with the sequences
(packed by us, padded and masked here) and targets; `eval.safetensors` and `dropout.safetensors` with `hidden`, `logits`,
`loss` and `gradient.NAME`: without dropout, and with dropout masks drawn as `ftp` draws them (see `counter_random.py`),
key `Key::new(7, "dropout").at(3)`.
"""

import json
import os
import pathlib
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from counter_random import Key, attention_index, dropout_mask, token_index

torch.set_num_threads(1)
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
LENGTHS = [7, 3, 13, 5]
OFFSETS = [0, *numpy.cumsum(LENGTHS).tolist()]
KEY = Key.new(7, "dropout").at(3)


class CounterDropout(nn.Module):
    """In the place of an `nn.Dropout`; called a second time in a pass its site has `.1` behind it."""

    def __init__(self, site, p):
        super().__init__()
        self.site, self.p, self.calls = site, p, 0

    def forward(self, x):
        if not self.training:
            return x
        site = self.site if self.calls == 0 else f"{self.site}.{self.calls}"
        self.calls += 1
        if x.dim() == 3:
            index = token_index(OFFSETS, x.shape[1], x.shape[2])
        else:
            index = numpy.arange(x.numel()).reshape(x.shape)
        return x * torch.from_numpy(dropout_mask(KEY, site, index, self.p))


def draw_dropout_from_counters(model):
    """Replaces every dropout of a model. A site is the LayerNorm its dropout feeds, or the attention it acts in."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Dropout):
            continue
        site = name.replace("output.dropout", "output.LayerNorm").replace("ffn.dropout", "output_layer_norm")
        parent = model.get_submodule(name.rpartition(".")[0])
        parent.dropout = CounterDropout(site, module.p)
        if hasattr(parent, "attention_head_size"):

            def enter(_module, _inputs, site=name.removesuffix(".dropout")):
                attention.site = site

            parent.register_forward_pre_hook(enter)

    def attention(probabilities, p=0.0, training=False, inplace=False):
        if not training or p == 0.0:
            return probabilities
        index = attention_index(OFFSETS, probabilities.shape[-1], probabilities.shape[1])
        return probabilities * torch.from_numpy(dropout_mask(KEY, attention.site, index, p))

    nn.functional.dropout = attention


def expected(model, inputs, targets, head, mask):
    model.zero_grad()
    out = model(**inputs, labels=targets, output_hidden_states=True)
    out.loss.backward()
    logits = out.logits[mask] if head == "mlm" else out.logits
    tensors = {"hidden": out.hidden_states[-1][mask], "logits": logits, "loss": out.loss.reshape(1)}
    # Tied parameters come once, under the name of the embeddings.
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            tensors[f"gradient.{name}"] = parameter.grad
    return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}


def make(name, config_class, model_class, head, seed, **settings):
    torch.manual_seed(seed)
    random = numpy.random.default_rng(seed)
    config = config_class(**settings)
    config._attn_implementation = "eager"
    model = model_class(config)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            norm_weight = "norm" in parameter_name.lower() and parameter_name.endswith("weight")
            parameter.normal_(1.0 if norm_weight else 0.0, 0.25)
    model = model.double()

    length, pad = max(LENGTHS), config.pad_token_id
    ids = numpy.full((len(LENGTHS), length), pad)
    segments = numpy.zeros_like(ids)
    for b, n in enumerate(LENGTHS):
        ids[b, :n] = random.integers(3, config.vocab_size, n)
        if getattr(config, "type_vocab_size", 0) == 2:
            segments[b, n // 2 : n] = 1
    mask = numpy.arange(length)[None] < numpy.array(LENGTHS)[:, None]
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask).long()}
    if hasattr(config, "type_vocab_size"):
        inputs["token_type_ids"] = torch.tensor(segments)
    if head == "mlm":
        chosen = mask & (random.random(ids.shape) < 0.5)
        targets = numpy.where(chosen, random.integers(3, config.vocab_size, ids.shape), -100)
        packed_targets = numpy.where(targets[mask] < 0, -1, targets[mask])
    elif head == "regression":
        packed_targets = targets = random.normal(size=len(LENGTHS)).round(3)
    else:
        packed_targets = targets = random.integers(0, config.num_labels, len(LENGTHS))

    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    targets, mask_tensor = torch.tensor(targets), torch.tensor(mask)
    model.eval()
    without = expected(model, inputs, targets, head, mask_tensor)
    model.float().save_pretrained(folder)
    model.double().train()
    draw_dropout_from_counters(model)
    with_dropout = expected(model, inputs, targets, head, mask_tensor)
    save_file(without, folder / "eval.safetensors")
    save_file(with_dropout, folder / "dropout.safetensors")
    pack = lambda rows: [row[:n].tolist() for row, n in zip(rows, LENGTHS)]
    case = {"ids": pack(ids), "segments": pack(segments), "targets": packed_targets.tolist()}
    (folder / "case.json").write_text(json.dumps(case) + "\n")
    print(name, "loss", float(without["loss"]), "with dropout", float(with_dropout["loss"]))


BERT = dict(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=20,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.3,
)
DISTILBERT = dict(
    vocab_size=60,
    dim=16,
    n_layers=2,
    n_heads=4,
    hidden_dim=24,
    max_position_embeddings=20,
    dropout=0.2,
    attention_dropout=0.3,
)
ROBERTA = BERT | dict(type_vocab_size=1, max_position_embeddings=22, layer_norm_eps=1e-5)
LABELS = dict(id2label={0: "negative", 1: "neutral", 2: "positive"}, label2id={"negative": 0, "neutral": 1, "positive": 2})
SCORE = dict(num_labels=1, problem_type="regression")

if __name__ == "__main__":
    T = transformers
    bert, roberta, distilbert = T.BertConfig, T.RobertaConfig, T.DistilBertConfig
    make("bert_mlm", bert, T.BertForMaskedLM, "mlm", 1, **BERT)
    untied = BERT | dict(tie_word_embeddings=False, hidden_act="gelu_new")
    make("bert_mlm_untied", bert, T.BertForMaskedLM, "mlm", 2, **untied)
    make("bert_sequence", bert, T.BertForSequenceClassification, "sequence", 3, **BERT, **LABELS)
    relu = BERT | dict(hidden_act="relu", classifier_dropout=0.4)
    make("bert_regression", bert, T.BertForSequenceClassification, "regression", 4, **relu, **SCORE)
    make("roberta_mlm", roberta, T.RobertaForMaskedLM, "mlm", 5, **ROBERTA)
    make("roberta_sequence", roberta, T.RobertaForSequenceClassification, "sequence", 6, **ROBERTA, **LABELS)
    make("distilbert_mlm", distilbert, T.DistilBertForMaskedLM, "mlm", 7, **DISTILBERT)
    make("distilbert_sequence", distilbert, T.DistilBertForSequenceClassification, "sequence", 8, **DISTILBERT, **LABELS)
