//! How long planning takes: 1,000 stages in ten chains, and their look-up in a store that has none of them.

use divan::{Bencher, black_box};
use ftp::lang::ir::Program;
use ftp::lang::value::Value;
use ftp::plan::Plan;
use ftp::store::{Lookup, Store};

#[path = "../tests/programs/mod.rs"]
mod programs;

fn main() {
    divan::main();
}

/// Ten chains of one pretraining and 99 adaptations, no two stages equal.
fn thousand() -> Program {
    let mut program = programs::program();
    program.nodes.push(programs::labelled("domain", "data/domain"));
    for chain in 0..10 {
        let mut stages = Vec::new();
        for number in 0..100 {
            let id = program.nodes.len();
            let mut stage = match number {
                0 => programs::stage("pretrain", "pretrain", &[("text", 0)]),
                _ => programs::stage("adapt", "adapt(domain)", &[("model", id - 1), ("domain", 0)]),
            };
            stage.parameters["epochs"].value = Value::Epochs(f64::from(chain * 100 + number + 1));
            program.nodes.push(stage);
            stages.push(id);
        }
        programs::pipeline(&mut program, &format!("chain{chain}"), &stages);
    }
    program
}

#[divan::bench]
fn plan_of_1000_stages(bencher: Bencher) {
    let program = thousand();
    bencher.bench(|| Plan::new(black_box(&program), "cpu"));
}

#[divan::bench]
fn keys_of_1000_stages(bencher: Bencher) {
    let program = thousand();
    let plan = Plan::new(&program, "cpu");
    let output = programs::digest("model");
    bencher.bench(|| {
        (0..plan.stages.len()).map(|stage| plan.key(&program, stage, &|_| output.clone()).key.len()).sum::<usize>()
    });
}

#[divan::bench]
fn look_ups_of_1000_missing_results(bencher: Bencher) {
    let program = thousand();
    let plan = Plan::new(&program, "cpu");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a new store");
    let output = programs::digest("model");
    let keys: Vec<String> =
        (0..plan.stages.len()).map(|stage| plan.key(&program, stage, &|_| output.clone()).key).collect();
    bencher.bench(|| keys.iter().filter(|key| matches!(store.lookup(key), Lookup::Miss(_))).count());
}
