"""Interchange with the real `peft` and `adapters`, on the small random models beside this file.

    pip install torch transformers==5.23.0 peft==0.21.2 safetensors
    python tests/parity/interchange.py peft --ftp target/debug/ftp

    pip install torch adapters==1.3.0 safetensors        # pins transformers 4.57: an environment of its own
    python tests/parity/interchange.py adapters --ftp target/debug/ftp

Two directions. What `ftp` publishes with `as adapter` is loaded by the library over the base: the same labels, and the same
logits within 1e-4. What the library saves is read by `ftp predict --json`, and by a run that attaches it, evaluates it,
publishes the whole model and publishes it as an adapter again. `ftp predict` gives probabilities, so log-probabilities are
compared there, and logits where the task is a regression. Each difference is printed; a larger one ends with status 1.

    python tests/parity/interchange.py peft --fixtures   # writes tests/parity/fixtures/saved/peft
    python tests/parity/interchange.py adapters --fixtures

makes the fixtures of `src/methods/interchange/parity.rs`: what the library saves, and the logits it has in float64.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
MODELS = ["bert", "roberta", "distilbert"]
LABELS = ["bad", "fair", "good"]
TOLERANCE = 1e-4
WORDS = [f"w{number}" for number in range(50)]


class Case:
    """A delta method: how `ftp` writes it in a stage, and how the library makes it."""

    def __init__(self, name, ftp, make, models=MODELS, rate=0.03, foldable=False):
        self.name, self.ftp, self.make, self.models, self.rate, self.foldable = name, ftp, make, models, rate, foldable


def peft_cases():
    import peft

    both = {"task_type": "SEQ_CLS"}
    attention = {"bert": ["query", "value"], "roberta": ["query", "value"], "distilbert": ["q_lin", "v_lin"]}
    ia3 = {"distilbert": {"target_modules": ["k_lin", "v_lin", "lin2"], "feedforward_modules": ["lin2"]}}

    def lora(**more):
        return lambda model: peft.LoraConfig(**({"r": 3, "lora_alpha": 5, "target_modules": attention[model]} | both | more))

    def prompts(kind, **more):
        def make(model):
            # `peft` does not find a DistilBERT's sizes by itself.
            config = json.loads((FIXTURES / f"{model}_sequence" / "config.json").read_text())
            sizes = {"token_dim": config["dim"], "num_attention_heads": config["n_heads"], "num_layers": config["n_layers"]} if model == "distilbert" else {}
            return kind(**both, **sizes, num_virtual_tokens=3, **more)

        return make

    bert = ["bert", "roberta"]
    return [
        Case("lora", "lora, rank = 3, alpha = 5", lora(), foldable=True),
        Case("rslora", "lora, rank = 3, alpha = 5, use_rslora = true", lora(use_rslora=True), foldable=True),
        Case("dora", "lora, rank = 2, alpha = 4, use_dora = true, target = attention", lora(use_dora=True), foldable=True),
        # With the pooler, which is in no layer: a set of modules that ftp has no name for. `peft` can't do it with DistilBERT's head.
        Case("all_linear", "lora, rank = 2, target = all_linear",
             lambda model: lora(target_modules="all-linear" if model != "distilbert" else ["q_lin", "out_lin", "lin1"])(model), foldable=True),
        Case("ia3", "ia3", lambda model: peft.IA3Config(**both, **ia3.get(model, {})), rate=0.1, foldable=True),
        Case("prompt", "prompt, num_virtual_tokens = 3", prompts(peft.PromptTuningConfig)),
        Case("p_tuning", "p_tuning, num_virtual_tokens = 3, encoder_hidden_size = 10", prompts(peft.PromptEncoderConfig, encoder_hidden_size=10)),
        Case("prefix", "prefix, num_virtual_tokens = 3", prompts(peft.PrefixTuningConfig), bert),
        Case("prefix_projection", "prefix, num_virtual_tokens = 3, prefix_projection = true, encoder_hidden_size = 10",
             prompts(peft.PrefixTuningConfig, prefix_projection=True, encoder_hidden_size=10), bert),
    ]


def adapters_cases():
    import adapters

    seq, double = adapters.SeqBnConfig, adapters.DoubleSeqBnConfig
    both = [adapters.SeqBnInvConfig, adapters.DoubleSeqBnInvConfig]
    houlsby = "style = houlsby, layer_norms = false, activation = swish"
    return [
        Case("seq_bn", "adapter, reduction_factor = 4", lambda _: seq(reduction_factor=4)),
        # 16 / 3 is 5 when it is rounded down, which no factor gives when it is rounded up.
        Case("odd", "adapter, reduction_factor = 3, activation = gelu", lambda _: seq(reduction_factor=3, non_linearity="gelu")),
        Case("double_seq_bn", f"adapter, reduction_factor = 2, {houlsby}", lambda _: double(reduction_factor=2)),
        Case("seq_bn_inv", "stack(adapter(reduction_factor = 4), invertible)", lambda _: both[0](reduction_factor=4)),
        Case("double_seq_bn_inv", f"stack(adapter({houlsby}, reduction_factor = 2), invertible(activation = swish, reduction_factor = 3))",
             lambda _: both[1](reduction_factor=2)),
    ]


class Library:
    """What is done with either library."""

    def __init__(self, name):
        self.name = name
        self.cases = peft_cases() if name == "peft" else adapters_cases()

    def base(self, directory, config=None):
        """The base in a directory, with the head that a configuration describes."""
        arguments = {} if config is None else {"config": config, "ignore_mismatched_sizes": True}
        model = transformers.AutoModelForSequenceClassification.from_pretrained(directory, **arguments)
        return model.eval()

    def made(self, case, model, base):
        """A delta of the library over a base, moved far from where it begins."""
        torch.manual_seed(len(case.name))
        if self.name == "peft":
            import peft

            whole = peft.get_peft_model(base, case.make(model))
        else:
            import adapters

            adapters.init(base)
            base.add_adapter("mood", config=case.make(model))
            base.train_adapter("mood")
            base.set_active_adapters("mood")
            whole = base
        with torch.no_grad():
            for parameter in whole.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        return whole.eval()

    def save(self, whole, directory):
        directory.mkdir(parents=True, exist_ok=True)
        if self.name == "peft":
            whole.save_pretrained(directory)
        else:
            whole.save_adapter(directory, "mood", with_head=True, use_safetensors=True)

    def load(self, directory, base_directory, config):
        base = self.base(base_directory, config)
        if self.name == "peft":
            import peft

            return peft.PeftModel.from_pretrained(base, directory).eval()
        import adapters

        adapters.init(base)
        base.load_adapter(str(directory), use_safetensors=True, set_active=True)
        return base.eval()


def logits(model, rows):
    """Of rows that are tokenised already; one by one, so that nothing is padded."""
    with torch.no_grad():
        return torch.stack([model(**{key: torch.tensor([value]) for key, value in row.items()}).logits[0] for row in rows])


def write_base(model, directory):
    """A fixture's model with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    directory.mkdir(parents=True)
    for name in ["config.json", "model.safetensors"]:
        shutil.copy(FIXTURES / f"{model}_sequence" / name, directory / name)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if model == "roberta" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pad, unk, cls, sep, mask = special if model != "roberta" else [special[at] for at in (1, 3, 0, 2, 4)]
    vocabulary = {token: number for number, token in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing((sep, vocabulary[sep]), (cls, vocabulary[cls]))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, unk_token=unk, cls_token=cls, sep_token=sep, mask_token=mask,
        model_input_names=["input_ids", "attention_mask"] if model != "bert" else ["input_ids", "token_type_ids", "attention_mask"],
    )
    fast.save_pretrained(directory)
    return directory


def write_data(directory):
    draw = random.Random(1)
    directory.mkdir()
    for split, count in [("train", 24), ("dev", 6), ("test", 6)]:
        with open(directory / f"{split}.jsonl", "w") as file:
            for number in range(count):
                label = LABELS[number % len(LABELS)]
                words = draw.sample(WORDS, draw.randint(2, 8)) + [WORDS[LABELS.index(label)]]
                file.write(json.dumps({"text": " ".join(words), "label": label, "score": number / count}) + "\n")
    (directory / "domain.txt").write_text("".join(" ".join(draw.sample(WORDS, 8)) + "\n" for _ in range(20)))
    return [json.loads(line)["text"] for line in open(directory / "test.jsonl")]


def ftp(program, work, *arguments):
    arguments = [str(program), *map(str, arguments)]
    done = subprocess.run(arguments, cwd=work, capture_output=True, text=True, env=os.environ | {"FTP_STORE": str(work / "store")})
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def answers(program, work, directory, texts, *options):
    """Log-probabilities of all labels, in the order of the answers, or scores; and the labels."""
    lines = [json.loads(line) for line in ftp(program, work, "predict", directory, "--json", *options, *texts).splitlines()]
    if "score" in lines[0]:
        return torch.tensor([[line["score"]] for line in lines]), None
    labels = list(lines[0]["probabilities"])
    return torch.tensor([[line["probabilities"][label] for label in labels] for line in lines]).log(), labels


class Report:
    def __init__(self):
        self.failed, self.worst = False, 0.0

    def add(self, direction, model, case, found, expected, without=None):
        difference = (found - expected).abs().max().item()
        # A delta that did nothing would agree with everything.
        moved = None if without is None else (without - expected).abs().max().item()
        wrong = not difference <= TOLERANCE or (moved is not None and moved < 1e-3)
        self.failed |= wrong
        self.worst = max(self.worst, difference)
        effect = "" if moved is None else f"   the delta changes up to {moved:.2g}"
        print(f"{'WRONG ' if wrong else ''}{direction:<28} {model:<11} {case:<18} {difference:.2e}{effect}", flush=True)


def written_by_ftp(library, program, work, bases, texts, report):
    lines, publications = ['let target = labelled("data/{train,dev,test}.jsonl", text = "text", label = "label")',
                           'let scores = labelled("data/{train,dev,test}.jsonl", text = "text", label = "score", task = regression)'], []
    for model in bases:
        lines.append(f'let {model} = hf("bases/{model}")')
        for case in library.cases:
            if model not in case.models:
                continue
            name = f"{model}_{case.name}"
            for kind, data in [("", "target"), ("_score", "scores")]:
                lines.append(f"pipeline {name}{kind} = {model} -> peft({case.ftp}) -> finetune({data}, epochs = 3, batch_size = 6, learning_rate = {case.rate})")
                lines.append(f'publish {name}{kind} to "out/{name}{kind}" as adapter')
            publications.append((model, case, name))
    if library.name == "peft":
        # Over a model that `ftp` made and published itself, for masked words: without the pooler that BERT's classifier reads.
        lines += ['let domain = text("data/domain.txt")', "let adapted = bert -> adapt(domain, epochs = 1, learning_rate = 0.01)",
                  "pipeline below = adapted", 'publish below to "out/below"',
                  "pipeline above = adapted -> peft(lora, rank = 2) -> finetune(target, epochs = 3, batch_size = 6, learning_rate = 0.03)",
                  'publish above to "out/above" as adapter']
    (work / "write.ftp").write_text("\n".join(lines) + "\n")
    ftp(program, work, "run", "write.ftp")
    for model, case, name in publications:
        for kind in ["", "_score"]:
            directory = work / "out" / f"{name}{kind}"
            config = config_of(directory, bases[model])
            named = json.loads((directory / "adapter_config.json").read_text())
            assert named.get("base_model_name_or_path", named.get("model_name")) == f"bases/{model}", named
            whole = library.load(directory, bases[model], config)
            tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
            rows = [dict(tokenizer(text)) for text in texts]
            expected = logits(whole, rows)
            # By the name of a result in the store, and by the directory, whose base lies where it says.
            for found in [f"{name}{kind}", directory]:
                by_ftp, labels = answers(program, work, found, texts)
                if labels is not None:
                    assert labels == LABELS == [whole.config.id2label[at] for at in range(3)], (labels, whole.config.id2label)
                compared = expected if labels is None else expected.log_softmax(-1)
                without = None
                if found is directory:
                    without = without_delta(library, whole, rows)
                    without = without if labels is None else without.log_softmax(-1)
                report.add("ftp wrote, library reads" if found is directory else "  (the store's own)", model, case.name + kind, by_ftp, compared, without)


    if library.name == "peft":
        directory = work / "out" / "above"
        assert json.loads((directory / "adapter_config.json").read_text())["base_model_name_or_path"] == "out/below"
        whole = library.load(directory, work / "out" / "below", config_of(directory, work / "out" / "below"))
        rows = [dict(transformers.AutoTokenizer.from_pretrained(directory)(text)) for text in texts]
        report.add("ftp wrote, library reads", "bert", "over_published", answers(program, work, directory, texts)[0], logits(whole, rows).log_softmax(-1))


def config_of(directory, base):
    """The base's, with the labels: `adapters` has them with the head, `peft` has none, and `ftp` puts them beside it."""
    file = directory / "label_map.json"
    label2id = json.loads(file.read_text()) if file.exists() else json.loads((directory / "head_config.json").read_text())["label2id"]
    id2label = {number: label for label, number in label2id.items()}
    return transformers.AutoConfig.from_pretrained(base, label2id=label2id, id2label=id2label)


def without_delta(library, whole, rows):
    """With the head, and without the delta."""
    if library.name == "adapters":
        active, whole.active_adapters = whole.active_adapters, None
        found = logits(whole, rows)
        whole.active_adapters = active
        return found
    if whole.active_peft_config.is_prompt_learning:
        return logits(whole.base_model, rows)
    # `disable_adapter` would take the trained head away, too.
    with torch.no_grad():
        kept = {name: value.clone() for name, value in whole.named_parameters() if "lora_" in name or "ia3_" in name}
        for name, value in whole.named_parameters():
            if "lora_B" in name:
                value.zero_()
            elif "ia3_" in name:
                value.fill_(1.0)
        found = logits(whole, rows)
        for name, value in whole.named_parameters():
            if name in kept:
                value.copy_(kept[name])
    return found


def written_by_library(library, program, work, bases, texts, report):
    lines = ['let target = labelled("data/{train,dev,test}.jsonl", text = "text", label = "label")']
    made = []
    for model, directory in bases.items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        rows = [dict(tokenizer(text)) for text in texts]
        lines.append(f'let {model} = hf("bases/{model}")')
        for case in library.cases:
            if model not in case.models:
                continue
            config = transformers.AutoConfig.from_pretrained(directory)
            config.id2label = dict(enumerate(LABELS))
            config.label2id = {label: number for number, label in enumerate(LABELS)}
            whole = library.made(case, model, library.base(directory, config))
            saved, name = work / "saved" / f"{model}_{case.name}", f"{model}_{case.name}"
            library.save(whole, saved)
            if library.name == "peft":
                # `peft` itself does not say what the labels are; with a map beside it, they are known.
                (saved / "label_map.json").write_text(json.dumps(config.label2id))
            expected = logits(whole, rows).log_softmax(-1)
            by_ftp, labels = answers(program, work, saved, texts, "--base", directory)
            assert labels == LABELS, labels
            report.add("library wrote, ftp reads", model, case.name, by_ftp, expected)
            lines.append(f'let saved_{name} = delta("saved/{name}")')
            lines.append(f"pipeline {name} = {model} -> peft(saved_{name}) -> evaluate(target)")
            lines.append(f"pipeline further_{name} = {model} -> peft(saved_{name}) -> finetune(target, epochs = 1, learning_rate = 0.001)")
            lines.append(f'publish {name} to "again/{name}" as adapter')
            lines.append(f'publish further_{name} to "further/{name}" as adapter')
            if case.foldable:
                lines.append(f"pipeline whole_{name} = {name}")
                lines.append(f'publish whole_{name} to "whole/{name}"')
            made.append((model, case, name, rows, expected, config))
    (work / "read.ftp").write_text("\n".join(lines) + "\n")
    ftp(program, work, "run", "read.ftp")
    for model, case, name, rows, expected, config in made:
        report.add("  attached and evaluated", model, case.name, answers(program, work, name, texts)[0], expected)
        again = library.load(work / "again" / name, bases[model], config)
        report.add("  written again by ftp", model, case.name, logits(again, rows).log_softmax(-1), expected)
        further = library.load(work / "further" / name, bases[model], config)
        found = answers(program, work, f"further_{name}", texts)[0]
        report.add("  trained further by ftp", model, case.name, found, logits(further, rows).log_softmax(-1))
        if case.foldable:
            whole = library.base(work / "whole" / name)
            report.add("  merged by ftp", model, case.name, logits(whole, rows).log_softmax(-1), expected)


def fixtures(library):
    """What the library saves over the small models, without the model itself, and its logits in float64."""
    kept = {"bert": None, "roberta": ["lora", "ia3", "prompt", "prefix", "seq_bn"], "distilbert": ["lora", "ia3", "seq_bn", "double_seq_bn_inv"]}
    for model in MODELS:
        for case in library.cases:
            if model not in case.models or (kept[model] is not None and case.name not in kept[model]):
                continue
            base = library.base(FIXTURES / f"{model}_sequence")
            base.name_or_path = base.config._name_or_path = f"{model}_sequence"
            whole = library.made(case, model, base)
            directory = FIXTURES / "saved" / library.name / f"{model}-{case.name}"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            library.save(whole, directory)
            if library.name == "adapters":
                # Whatever names the machine's directories is no part of the format.
                for name in ["adapter_config.json", "head_config.json"]:
                    settings = json.loads((directory / name).read_text())
                    settings["model_name"] = f"{model}_sequence"
                    (directory / name).write_text(json.dumps(settings, indent=2, sort_keys=True))
            for name in ["README.md", "adapter_setup.json"]:
                (directory / name).unlink(missing_ok=True)
            case_rows = json.loads((FIXTURES / f"{model}_sequence" / "case.json").read_text())
            rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in case_rows["ids"]]
            if model == "bert":
                for row, segments in zip(rows, case_rows["segments"]):
                    row["token_type_ids"] = segments
            save_file({"logits": logits(whole.double(), rows).float()}, directory / "logits.safetensors")
            print(directory.relative_to(FIXTURES), sum(file.stat().st_size for file in directory.iterdir()), "bytes")
    if library.name == "adapters":
        language_fixture(FIXTURES / "saved" / "language")


def language_fixture(directory):
    """A language adapter under the head for masked words, where its inverse acts: logits of all tokens, text by text."""
    import adapters

    model = transformers.AutoModelForMaskedLM.from_pretrained(FIXTURES / "bert_mlm").eval()
    adapters.init(model)
    model.add_adapter("tongue", config=adapters.SeqBnInvConfig(reduction_factor=2))
    model.set_active_adapters("tongue")
    # The inverse before the decoder, as in the paper and under the heads of `adapters` itself; version 1.3.0 leaves it out under
    # those of `transformers`.
    inverse = lambda module, given: (model.base_model.invertible_adapters_forward(given[0], rev=True), *given[1:])
    model.get_output_embeddings().register_forward_pre_hook(inverse)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".tongue." in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    model.save_adapter(str(directory), "tongue", with_head=False, use_safetensors=True)
    settings = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps(settings | {"model_name": "bert_mlm"}, indent=2, sort_keys=True))
    case = json.loads((FIXTURES / "bert_mlm" / "case.json").read_text())
    model = model.double()
    with torch.no_grad():
        found = [model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([segments])).logits[0] for ids, segments in zip(case["ids"], case["segments"])]
    save_file({"logits": torch.cat(found).float()}, directory / "logits.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=["peft", "adapters"])
    parser.add_argument("--ftp", type=pathlib.Path, help="the program")
    parser.add_argument("--fixtures", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this directory and leave it")
    arguments = parser.parse_args()
    library = Library(arguments.library)
    if arguments.fixtures:
        return fixtures(library)
    if arguments.ftp is None:
        parser.error("--ftp is needed")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or pathlib.Path(temporary)
        work.mkdir(exist_ok=True)
        bases = {model: write_base(model, work / "bases" / model) for model in MODELS}
        texts = write_data(work / "data")
        report = Report()
        written_by_ftp(library, arguments.ftp.resolve(), work, bases, texts, report)
        written_by_library(library, arguments.ftp.resolve(), work, bases, texts, report)
    print(f"largest difference {report.worst:.2e}, at most {TOLERANCE:.0e} allowed")
    sys.exit(report.failed)


main()
