//! Nothing about how a file is written is in a key: not its white space and comments, not the order of what has names, not the
//! names themselves, not where files lie.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ftp::data::FileWorld;
use ftp::lang::signature::Registry;
use ftp::lang::world::{ModuleRequest, ModuleText, SourceError, SourceFacts, SourceRequest, World};
use ftp::lang::{self, Checked};
use ftp::methods;
use ftp::plan::Plan;
use ftp::random::Key;
use ftp::syntax::{self, Source};

mod support;
use support::{Table, registry};

/// The keys of all stages, were each stage's output named by its key.
fn keys(source: &Source, registry: &Registry, world: &dyn World) -> BTreeSet<String> {
    let program = match lang::check(source, registry, world, &[]) {
        Ok(Checked { program, .. }) => program,
        Err(found) => {
            let reports: Vec<String> = found.all.iter().map(|one| one.render(&found.source, false)).collect();
            panic!("{}\n{}", reports.join("\n"), source.text)
        }
    };
    let plan = Plan::new(&program, "cpu");
    let mut keys: Vec<String> = vec![];
    for stage in 0..plan.stages.len() {
        let key = plan.key(&program, stage, &|before| keys[before].clone()).key;
        keys.push(key);
    }
    keys.into_iter().collect()
}

/// [`Table`], with its modules in whatever directory they are looked for.
struct Anywhere;

impl World for Anywhere {
    fn describe(&self, request: &SourceRequest) -> Result<SourceFacts, Vec<SourceError>> {
        Table.describe(request)
    }

    fn module(&self, request: &ModuleRequest) -> Result<ModuleText, SourceError> {
        let ModuleRequest::File { path, .. } = request else { panic!("{request:?}") };
        let file = path.rsplit('/').next().unwrap_or(path);
        Table.module(&ModuleRequest::File { directory: "team".into(), path: file.into() })
    }
}

/// What an edit is of.
#[derive(Clone, Copy)]
enum Kind {
    Space,
    Comment,
    Order,
    Name,
    Place,
}

/// Writes the same program in many ways.
struct Disguise {
    /// `None` writes the plain text.
    key: Option<Key>,
    turn: u64,
    /// How many edits of each [`Kind`] were made, compared with the plain text.
    edits: [usize; 5],
}

impl Disguise {
    fn new(seed: u64) -> Self {
        Self { key: Some(Key::new(seed, "cosmetic")), turn: 0, edits: [0; 5] }
    }

    fn plain() -> Self {
        Self { key: None, turn: 0, edits: [0; 5] }
    }

    /// A number below this; the last one leaves everything as it is.
    fn draw(&mut self, below: usize) -> usize {
        self.turn += 1;
        self.key.map_or(below - 1, |key| key.below(self.turn, below as u32) as usize)
    }

    /// One of these; the first is the plain one.
    fn one_of<'a>(&mut self, kind: Kind, choices: &[&'a str]) -> &'a str {
        let drawn = choices.len() - 1 - self.draw(choices.len());
        self.edits[kind as usize] += usize::from(drawn > 0);
        choices[drawn]
    }

    fn name(&mut self, plain: &str) -> String {
        let end = self.one_of(Kind::Name, &["", "_", "_2", "s", "\u{e9}", "_of_ours"]);
        format!("{plain}{end}")
    }

    /// These in any order.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.draw(at + 1);
            self.edits[Kind::Order as usize] += usize::from(other != at);
            items.swap(at, other);
        }
    }

    /// Named arguments, with gaps around their commas.
    fn arguments(&mut self, arguments: &[String]) -> String {
        let mut arguments = arguments.to_vec();
        self.shuffle(&mut arguments);
        arguments.join("|, |")
    }

    /// What may stand where a newline may.
    fn gap(&mut self) -> String {
        match self.draw(8) {
            0 => {
                self.edits[Kind::Comment as usize] += 1;
                " # why, \"and\" (how ->\n ".into()
            }
            1 | 2 => {
                self.edits[Kind::Space as usize] += 1;
                "\n  ".into()
            }
            _ => String::new(),
        }
    }

    /// A statement as text: a blank is at least one, and `|` is where a line may break.
    fn written(&mut self, statement: &str) -> String {
        let mut text = String::new();
        for c in statement.chars() {
            match c {
                ' ' => text += self.one_of(Kind::Space, &[" ", "  ", "\t", " \t "]),
                '|' => text += &self.gap(),
                c => text.push(c),
            }
        }
        text + self.one_of(Kind::Comment, &["", "  # done", " ## not documentation"])
    }

    fn text(&mut self) -> String {
        let names = [
            "base", "target", "domain", "tuned", "m", "t", "d", "n", "tries", "main", "rate", "word", "team", "both",
            "v", "list", "stacked", "middle",
        ];
        let names: Vec<String> = names.iter().map(|plain| self.name(plain)).collect();
        let [base, target, domain, tuned, m, t, d, n, tries, main, rate, word, team, both, v, list, stacked, middle] =
            &names[..]
        else {
            unreachable!("as many as there are")
        };
        let mut path =
            |file: &str| format!("{}{file}", self.one_of(Kind::Place, &["", "elsewhere/", "/absolute/", "../up/"]));
        let [models, rows, lines, module] = ["minilm", "sst2.jsonl", "domain.txt", "recipes.ftp"].map(&mut path);
        let learning =
            self.arguments(&["epochs = |2".into(), format!("learning_rate = |{rate}"), "schedule = cosine".into()]);
        let again =
            self.arguments(&["epochs = 2".into(), format!("learning_rate = {rate}"), "schedule = cosine".into()]);
        let called = self.arguments(&[format!("{t} = {target}"), format!("{d} = {domain}"), format!("{n} = 4")]);
        let lora = self.arguments(&["rank = 4".into(), "alpha = 8".into()]);
        let mut deltas = [format!("lora(|{lora}|)"), "bitfit".to_owned()];
        self.shuffle(&mut deltas);
        let set = self.arguments(&["epochs = 2".into(), "batch_size = 16".into()]);
        let of_team = self.arguments(&["rate = 1e-5".into(), "seed = 7".into()]);
        let mut statements = vec![
            format!("use \"{module}\" as {team}"),
            format!("let {base} = |hf(|\"{models}\"|)"),
            format!("let {target} = labelled(\"{rows}\")"),
            format!("let {domain} = text(\"{lines}\")"),
            format!("let {rate} = 1e-4"),
            format!("let {both} = stack(|{}|)", deltas.join("|, |")),
            format!("let {list} = [|1e-5|, 5e-5|]"),
            format!("let {middle} = {base} |-> |adapt({domain})"),
            format!("param {word}: bool = |true"),
            format!("set adapt(|{set}|)"),
            format!(
                "recipe {tuned}(|{m}: model|, {t}: labelled|, |{d}: text, {n}: epochs = 3|) = |{m} |-> |adapt({d}) -> finetune({t}, epochs = {n})"
            ),
            format!("pipeline {tries} = {base} -> |each(|seed in 1..2|) |finetune({target}, |{learning}) |-> select"),
            format!(
                "pipeline {main} = |{base} -> {tuned}(|{called}|) |-> if {word} |then finetune({target}, {again}) |else finetune({target})"
            ),
            format!(
                "pipeline {stacked} = {middle} -> peft({both}) -> each({v} in {list}) finetune({target}, learning_rate = {v})"
            ),
            format!("pipeline of_team = {middle} -> |{team}.tuned({target}, {of_team}|)"),
            format!("expect {main}.accuracy - |{tries}.accuracy >= |-1"),
        ];
        self.shuffle(&mut statements);
        let mut text = String::new();
        for statement in statements {
            for _ in 0..2 - self.draw(3) {
                text += self.one_of(Kind::Comment, &["\n", "# a comment\n", "## docs, perhaps\n"]);
                text += self.one_of(Kind::Space, &["", "   \n"]);
            }
            text += &self.written(&statement);
            text.push('\n');
        }
        match self.draw(8) {
            0 => text = text.replace('\n', "\r\n"),
            1 => text.insert(0, '\u{feff}'),
            2 | 3 => text = syntax::format(&Source::new("x.ftp", &text)).expect("it has no errors"),
            _ => return text,
        }
        self.edits[Kind::Space as usize] += 1;
        text
    }
}

#[test]
fn ten_thousand_cosmetic_edits_of_each_kind_change_no_key() {
    let registry = registry();
    let of = |text: &str| keys(&Source::new("test.ftp", text), &registry, &Anywhere);
    let plain = of(&Disguise::plain().text());
    assert_eq!(plain.len(), 10, "{plain:?}");
    let mut made = [0; 5];
    for seed in 0..10_000 {
        let mut disguise = Disguise::new(seed);
        let text = disguise.text();
        assert_eq!(of(&text), plain, "seed {seed}:\n{text}");
        made.iter_mut().zip(disguise.edits).for_each(|(sum, edits)| *sum += edits);
    }
    let kinds = ["white space", "comments", "order", "names", "places of files"];
    println!("{:?}", kinds.iter().zip(made).collect::<Vec<_>>());
    assert!(made.iter().all(|edits| *edits >= 10_000), "{made:?}");
}

/// Every byte counts in a key, so two programs that differ must differ there: the test above compares something.
#[test]
fn a_change_of_meaning_changes_keys() {
    let registry = registry();
    let of = |text: &str| keys(&Source::new("test.ftp", text), &registry, &Anywhere);
    let text = Disguise::plain().text();
    let plain = of(&text);
    for (from, to) in
        [("1e-4", "2e-4"), ("seed = 7", "seed = 8"), ("alpha = 8", "alpha = 9"), ("batch_size = 16", "batch_size = 8")]
    {
        assert!(text.contains(from), "{text}");
        assert_ne!(of(&text.replace(from, to)), plain, "{from} -> {to}");
    }
}

/// Real files, in a place of their own.
fn project(root: &Path, data: &str, team: &str, name: &str) -> Source {
    let write = |path: String, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    for split in ["train", "dev"] {
        let rows = format!(
            "{{\"text\": \"{split} good\", \"label\": \"a\"}}\n{{\"text\": \"{split} bad\", \"label\": \"b\"}}\n"
        );
        write(format!("{data}/{split}.jsonl"), &rows);
    }
    write(format!("{data}/lines.txt"), "one line\nanother line\n");
    let recipes = "let lines = text(\"more.txt\")\n\nrecipe tuned(base: model, target: labelled) = base -> adapt(lines) -> finetune(target)\n";
    write(format!("{team}/recipes.ftp"), recipes);
    write(format!("{team}/more.txt"), "more lines\n");
    let text = format!(
        "use \"{team}/recipes.ftp\" as team\n\nlet lines = text(\"{data}/lines.txt\")\nlet target = labelled(\"{data}/{{train,dev}}.jsonl\")\n\
         pipeline main = pretrain(lines) -> team.tuned(target)\n"
    );
    write(name.to_owned(), &text);
    Source::new(root.join(name).display().to_string(), text)
}

#[test]
fn files_that_are_moved_keep_their_keys() {
    let of = |root: &Path, data: &str, team: &str, name: &str| {
        let source = project(root, data, team, name);
        keys(&source, methods::registry(), &FileWorld::new(root))
    };
    let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let plain = of(one.path(), "data", "team", "main.ftp");
    assert_eq!(plain.len(), 3);
    assert_eq!(of(one.path(), "other/place", "shared/with/all", "renamed.ftp"), plain);
    assert_eq!(of(&other.path().join("deep/down"), "../data", "../team", "main.ftp"), plain);
    let absolute = other.path().join("absolute").display().to_string();
    assert_eq!(of(other.path(), &absolute, &absolute, "main.ftp"), plain);
}
