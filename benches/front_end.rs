//! How long a file of a thousand lines takes to parse and to check: `cargo bench --bench front_end`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;

use ftp::lang;
use ftp::syntax::{self, Source};
use support::{Table, registry, source};

fn main() {
    divan::main();
}

/// A file of about `lines` lines: a few shared declarations, then pipelines of four lines each.
fn generated(lines: usize) -> Source {
    let mut text = String::from(
        "## Generated.\nparam epochs: int = 3\nlet base = hf(\"models/minilm\")\nlet domain = text(\"data/*.txt\")\n\
         let target = labelled(\"data/{train,dev,test}.jsonl\", label = \"class\")\nset finetune(epochs = epochs)\n",
    );
    for pipeline in 0..lines / 4 {
        writeln!(
            text,
            "## Variant {pipeline}.\npipeline p{pipeline} =\n  base -> adapt(domain, seed = {pipeline}) -> peft(lora, rank = 4)\n  \
             -> finetune(target, learning_rate = 1e-3, warmup = 10 %, seed = {pipeline})"
        )
        .expect("writing to a string never fails");
    }
    source(&text)
}

/// The same with an error in every pipeline.
fn wrong(lines: usize) -> Source {
    source(&generated(lines).text.replace("learning_rate", "learning_rte"))
}

#[divan::bench]
fn parse_1000_lines(bencher: divan::Bencher) {
    let source = generated(1000);
    bencher.bench(|| syntax::parse(&source));
}

#[divan::bench]
fn check_1000_lines(bencher: divan::Bencher) {
    let (source, registry) = (generated(1000), registry());
    bencher.bench(|| lang::check(&source, &registry, &Table, &[]).is_ok());
}

#[divan::bench]
fn check_1000_lines_with_250_errors(bencher: divan::Bencher) {
    let (source, registry) = (wrong(1000), registry());
    bencher.bench(|| lang::check(&source, &registry, &Table, &[]).is_err());
}
