//! Recipes, modules and fan-out mean the stages they stand for.

use std::collections::BTreeSet;

use ftp::lang::ir::Program;
use ftp::lang::{self, Checked};
use ftp::plan::Plan;

mod support;
use support::{Table, registry, source};

const DATA: &str = "let base = hf(\"models/minilm\")
let target = labelled(\"data/sst2.jsonl\")
let domain = text(\"data/domain.txt\")
";

fn program(text: &str) -> Program {
    match lang::check(&source(text), &registry(), &Table, &[]) {
        Ok(Checked { program, .. }) => program,
        Err(found) => {
            let reports: Vec<String> = found.all.iter().map(|one| one.render(&found.source, false)).collect();
            panic!("{}\n{text}", reports.join("\n"))
        }
    }
}

/// The keys of all stages, were each stage's output named by its key.
fn keys(text: &str) -> BTreeSet<String> {
    let program = program(text);
    let plan = Plan::new(&program, "cpu");
    let mut keys: Vec<String> = vec![];
    for stage in 0..plan.stages.len() {
        let key = plan.key(&program, stage, &|before| keys[before].clone()).key;
        keys.push(key);
    }
    keys.into_iter().collect()
}

fn same(one: &str, other: &str) {
    let (one, other) = (format!("{DATA}{one}"), format!("{DATA}{other}"));
    let image = |text: &str| {
        let program = program(text);
        let plan = Plan::new(&program, "cpu");
        let images =
            (0..plan.stages.len()).map(|stage| plan.key(&program, stage, &|before| format!("#{before}")).pre_image);
        images.map(|image| format!("{:?}", image.leaves)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(keys(&one), keys(&other), "{}\n\n{}", image(&one), image(&other));
}

#[test]
fn a_recipe_is_its_stages_written_out() {
    same(
        "recipe tuned(base: model, domain: text, target: labelled, epochs: epochs = 3) =
           base -> adapt(domain, epochs = epochs) -> finetune(target, epochs = epochs)
         pipeline a = base -> tuned(domain, target)
         pipeline b = tuned(base, domain, target, epochs = 5)",
        "pipeline a = base -> adapt(domain, epochs = 3) -> finetune(target, epochs = 3)
         pipeline b = base -> adapt(domain, epochs = 5) -> finetune(target, epochs = 5)",
    );
}

#[test]
fn what_a_recipe_makes_may_depend_on_a_choice() {
    same(
        "recipe tries(base: model, target: labelled, vote: bool = true) =
           base -> each(seed in 1..3) finetune(target) -> if vote then ensemble else select
         recipe light(base: model, on: bool) = base -> if on then peft(lora)
         recipe both(base: model, target: labelled) = base -> light(on = true) -> finetune(target)
         pipeline a = base -> tries(target)
         pipeline b = base -> tries(target, vote = false)
         pipeline c = base -> light(on = false) -> finetune(target, epochs = 5)
         pipeline d = base -> both(target)",
        "pipeline a = base -> each(seed in 1..3) finetune(target) -> ensemble
         pipeline b = base -> each(seed in 1..3) finetune(target) -> select
         pipeline c = base -> finetune(target, epochs = 5)
         pipeline d = base -> peft(lora) -> finetune(target)",
    );
    let wrong =
        "recipe light(base: model, on: bool) = base -> if on then peft(lora)\npipeline a = base -> light(on = true)";
    let found = lang::check(&source(&format!("{DATA}{wrong}")), &registry(), &Table, &[]).unwrap_err();
    assert_eq!(found.all[0].code, "ftp::order::delta_not_trained", "{found}");
}

#[test]
fn a_recipe_takes_recipes_stages_and_delta_methods() {
    same(
        "recipe light(base: model, target: labelled, method: delta = bitfit) = base -> peft(method) -> finetune(target)
         recipe twice(base: model, target: labelled, learn: recipe(labelled)) = base -> learn(target) -> learn(target)
         pipeline a = base -> twice(target, learn = light)
         pipeline b = base -> twice(target, finetune)
         pipeline c = base -> light(target, method = lora)",
        "pipeline a = base -> peft(bitfit) -> finetune(target) -> peft(bitfit) -> finetune(target)
         pipeline b = base -> finetune(target) -> finetune(target)
         pipeline c = base -> peft(lora) -> finetune(target)",
    );
}

#[test]
fn a_module_reads_with_its_own_names_paths_and_defaults() {
    same(
        "use \"team/recipes.ftp\" as team
         set finetune(epochs = 7)
         pipeline a = base -> team.two_steps(target)
         pipeline b = base -> team.tuned(target, seed = 3)",
        "let mnli = pairs(\"team/mnli.jsonl\")
         pipeline a = base -> intermediate(mnli) -> finetune(target, learning_rate = 5e-5)
         pipeline b = base -> finetune(target, learning_rate = 5e-5, seed = 3)",
    );
}

#[test]
fn each_makes_every_combination_and_gives_its_values_to_parameters_of_their_names() {
    same(
        "pipeline tries = base -> each(seed in 1..2, rate in [1e-4, 1e-5]) finetune(target, learning_rate = rate)",
        "pipeline a = base -> finetune(target, seed = 1, learning_rate = 1e-4)
         pipeline b = base -> finetune(target, seed = 1, learning_rate = 1e-5)
         pipeline c = base -> finetune(target, seed = 2, learning_rate = 1e-4)
         pipeline d = base -> finetune(target, seed = 2, learning_rate = 1e-5)",
    );
    same(
        "let methods = [bitfit, lora]
         pipeline tries = base -> each(method in methods) (peft(method) -> finetune(target))",
        "pipeline a = base -> peft(bitfit) -> finetune(target)
         pipeline b = base -> peft(lora) -> finetune(target)",
    );
    let named = program(&format!("{DATA}pipeline tries = base -> each(seed in 1..2) finetune(target)"));
    let names: Vec<&str> = named.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["tries[seed = 1]", "tries[seed = 2]"]);
}

#[test]
fn a_choice_is_what_its_condition_takes_and_files_of_the_other_side_need_not_be_there() {
    same(
        "param quick: bool = true
         param layers: int = 4
         pipeline a = base -> if not quick then adapt(domain) -> finetune(target, epochs = if layers > 3 then 1 else 9)
         pipeline b = if quick then base else hf(\"missing\") -> if layers == 4 then (peft(bitfit) -> finetune(target)) else finetune(target)",
        "pipeline a = base -> finetune(target, epochs = 1)
         pipeline b = base -> peft(bitfit) -> finetune(target)",
    );
}

#[test]
fn a_string_takes_in_names() {
    let one = program(&format!(
        "{DATA}param size: int = 3\nlet other = text(\"data/${{size}}/\\${{x}}.txt\")\npipeline a = base -> adapt(other)"
    ));
    let paths = one.nodes.iter().filter_map(|node| Some(&node.parameters.get("path")?.value));
    let wanted = ftp::lang::value::Value::String("data/3/${x}.txt".into());
    assert!(paths.clone().any(|path| *path == wanted), "{:?}", paths.collect::<Vec<_>>());
}

#[test]
fn what_a_program_holds_is_only_what_it_says() {
    // Checking a recipe by itself, and the side of a choice that is not taken, leave nothing behind.
    let plain = program(&format!("{DATA}pipeline a = base -> finetune(target)"));
    let more = program(&format!(
        "{DATA}recipe odd(base: model, n: int) = base -> each(seed in 1..n) finetune(target) -> select
         pipeline a = base -> if false then adapt(domain) -> finetune(target)"
    ));
    let labels =
        |program: &Program| -> BTreeSet<String> { program.nodes.iter().map(|node| node.label.clone()).collect() };
    assert_eq!(plain.nodes.len(), more.nodes.len());
    assert_eq!(labels(&plain), labels(&more));
}

#[test]
fn a_program_that_explodes_is_refused_soon() {
    let mut text = format!("{DATA}recipe r0(base: model) = base -> adapt(domain)\n");
    for n in 1..60 {
        text += &format!("recipe r{n}(base: model) = base -> r{} -> r{}\n", n - 1, n - 1);
    }
    text += "pipeline a = base -> r59";
    let found = lang::check(&source(&text), &registry(), &Table, &[]).unwrap_err();
    assert!(found.all.iter().any(|one| one.code == "ftp::recipe::too_large"), "{found}");
}
