"""Makes tests/data/tokenizer: a tiny WordPiece vocabulary, and what transformers makes of some texts with it.

    python tests/data/make_tokenizer_fixture.py

Needs transformers (made with 5.23). With a directory as argument it instead loads that tokenizer with AutoTokenizer and
prints the ids of the texts on its standard input (a JSON list) as JSON.
"""

import json
import pathlib
import sys

from transformers import AutoTokenizer, BertTokenizer

HERE = pathlib.Path(__file__).parent / "tokenizer"

PIECES = """[PAD] [UNK] [CLS] [SEP] [MASK] ! " # ' ( ) , - . / : ; ? @ [ ] a b c d e f g h i j k l m n o p q r s t u v w x y z
0 1 2 3 A B E T é 日 本 the The and of to in is was good bad movie film great un play sing cafe café Great
##a ##b ##c ##d ##e ##f ##g ##h ##i ##j ##k ##l ##m ##n ##o ##p ##q ##r ##s ##t ##u ##v ##w ##x ##y ##z ##é
##ing ##ed ##er ##ly ##able ##watch ##believ ##s' ##1 ##2""".split()

TEXTS = [
    "The movie was great!",
    "An unbelievable, unwatchable film... (2 of 3)",
    "Café café CAFÉ cafe\u0301",
    "\u65e5\u672c\u8a9e and 日本",
    "tab\tand\u00a0nbsp\u200bzero\u0000null\ufffd line\r\nbreak",
    "don't stop-playing: it's @user #1",
    "x" * 101 + " is too long, " + "y" * 100 + " is not",
    "literal [MASK] and [SEP] in a text",
    "emoji \U0001f600 good",
    "   spaces   around   ",
    "",
]

PAIRS = [
    ("The movie was good", "and the film was bad, bad, bad, bad and bad"),
    ("a b c d e f g h i j k l m n o p", "q r s t u v w x y z"),
    ("short", "also"),
]


def main():
    HERE.mkdir(exist_ok=True)
    (HERE / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    cases = []
    for lowercase in (True, False):
        tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(PIECES)}, do_lower_case=lowercase)
        assert tokenizer.convert_tokens_to_ids("great") == PIECES.index("great")
        for max_length in (128, 12, 7):
            cut = dict(truncation="longest_first", max_length=max_length)
            for text in TEXTS:
                made = tokenizer(text, **cut)
                cases.append(case(lowercase, max_length, text, None, made))
            for first, second in PAIRS:
                made = tokenizer(first, second, **cut)
                cases.append(case(lowercase, max_length, first, second, made))
    lines = ",\n".join(json.dumps(each) for each in cases)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")


def case(lowercase, max_length, text, pair, made):
    return {
        "lowercase": lowercase,
        "max_length": max_length,
        "text": text,
        "pair": pair,
        "ids": made["input_ids"],
        "segments": made["token_type_ids"],
        "words": made.word_ids(),
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        loaded = AutoTokenizer.from_pretrained(sys.argv[1])
        texts = json.load(sys.stdin)
        made = [loaded(*each)["input_ids"] if isinstance(each, list) else loaded(each)["input_ids"] for each in texts]
        json.dump({"class": type(loaded).__name__, "mask": loaded.mask_token_id, "ids": made}, sys.stdout)
    else:
        main()
