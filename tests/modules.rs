//! Modules of git repositories, by way of the program itself. The repositories lie on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

struct Place {
    root: TempDir,
}

impl Place {
    /// A repository with a module at the tag v1, and a project that uses it.
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.write("team/recipes.ftp", "use \"inner/more.ftp\"\n\nrecipe tuned(base: model, target: labelled, rate: float = 5e-5) =\n  base -> more.step(target, rate = rate)\n");
        place.write("team/inner/more.ftp", "recipe step(base: model, target: labelled, rate: float) = base -> finetune(target, learning_rate = rate)\n");
        place.write("team/README.md", "not a module\n");
        place.git(&["init", "--quiet", "."]);
        place.commit("v1");
        for split in ["train", "dev", "test"] {
            place.write(
                &format!("project/data/{split}.jsonl"),
                "{\"text\": \"NAME good\", \"label\": \"good\"}\n{\"text\": \"NAME bad\", \"label\": \"bad\"}\n"
                    .replace("NAME", split)
                    .as_str(),
            );
        }
        place.write("project/corpus.txt", "one line\nanother line\n");
        place.write("project/p.ftp", &format!("use git(\"{}\", tag = \"v1\") as team\n\nlet corpus = text(\"corpus.txt\")\nlet target = labelled(\"data/{{train,dev,test}}.jsonl\")\n\npipeline main = pretrain(corpus) -> team.tuned(target)\n", place.address()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn address(&self) -> String {
        format!("file://{}", self.path("team").display())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.path("team")).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").args(arguments);
        let output = command.output().expect("git is installed");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self, tag: &str) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", "change"]);
        self.git(&["tag", "--force", tag]);
    }

    fn ftp(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ftp"));
        command.current_dir(self.path("project")).env("XDG_CACHE_HOME", self.path("cache")).args(arguments);
        command.output().unwrap()
    }

    /// What a command prints when it ends as it should.
    fn says(&self, arguments: &[&str], code: i32) -> String {
        let output = self.ftp(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "ftp {arguments:?}:\n{said}");
        said
    }

    fn vendored(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.path("project/vendor")).unwrap();
        entries.map(|entry| entry.unwrap().path()).next().unwrap()
    }
}

fn lock(place: &Place) -> String {
    std::fs::read_to_string(place.path("project/ftp.lock")).unwrap()
}

#[test]
fn a_module_is_used_as_it_was_locked() {
    let place = Place::new();
    assert!(place.says(&["check", "p.ftp"], 3).contains("ftp::module::not_locked"));
    assert!(place.says(&["lock", "p.ftp"], 0).contains("locked file://"));
    let locked = lock(&place);
    assert!(place.says(&["check", "p.ftp"], 0).contains("2 stages"));

    // The tag moves on; nothing changes here until someone asks for it.
    place.write(
        "team/inner/more.ftp",
        "recipe step(base: model, target: labelled, rate: float) = base -> finetune(target, learning_rate = 1e-3)\n",
    );
    place.commit("v1");
    place.says(&["check", "p.ftp"], 0);
    place.says(&["lock", "p.ftp"], 0);
    assert_eq!(lock(&place), locked);
}

#[test]
fn a_moved_tag_is_refused_until_it_is_updated() {
    let place = Place::new();
    place.says(&["lock", "p.ftp"], 0);
    let locked = lock(&place);
    place.write(
        "team/recipes.ftp",
        "recipe tuned(base: model, target: labelled) = base -> finetune(target, learning_rate = 1e-5)\n",
    );
    place.commit("v1");
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    assert!(place.says(&["check", "p.ftp"], 3).contains("ftp::module::not_fetched"));
    assert!(place.says(&["lock", "p.ftp"], 1).contains("ftp::module::moved_tag"));

    let said = place.says(&["update", "p.ftp", "--dry-run"], 0);
    assert!(said.contains("changed finetune(target)") && said.contains("5e-5 -> 1e-5"), "{said}");
    assert_eq!(lock(&place), locked, "a dry run writes nothing");
    place.says(&["update", "p.ftp"], 0);
    assert_ne!(lock(&place), locked);
    place.says(&["check", "p.ftp"], 0);
    assert!(place.says(&["update", "p.ftp"], 0).contains("every module and every model is at the commit"));
}

#[test]
fn a_vendored_module_needs_no_network_and_may_not_be_edited() {
    let place = Place::new();
    place.says(&["vendor", "p.ftp"], 0);
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    std::fs::remove_dir_all(place.path("team")).unwrap();
    place.says(&["check", "p.ftp"], 0);
    let file = place.vendored().join("recipes.ftp");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "# mine\n").unwrap();
    assert!(place.says(&["check", "p.ftp"], 3).contains("ftp::module::changed_tree"));
}

#[test]
fn a_commit_can_stand_in_place_of_a_tag_and_a_damaged_lock_is_said() {
    let place = Place::new();
    let head = Command::new("git").arg("-C").arg(place.path("team")).args(["rev-parse", "HEAD"]).output().unwrap();
    let head = String::from_utf8(head.stdout).unwrap();
    let file = std::fs::read_to_string(place.path("project/p.ftp")).unwrap();
    place.write("project/p.ftp", &file.replace("tag = \"v1\"", &format!("commit = \"{}\"", head.trim())));
    place.says(&["lock", "p.ftp"], 0);
    place.says(&["check", "p.ftp"], 0);
    assert!(lock(&place).contains(head.trim()));

    let cut = lock(&place);
    std::fs::write(place.path("project/ftp.lock"), &cut[..cut.len() - 20]).unwrap();
    assert!(place.says(&["check", "p.ftp"], 3).contains("ftp::module::bad_lock"));
}

#[test]
fn a_tag_that_is_not_there_and_a_run_that_may_not_lock_are_errors() {
    let place = Place::new();
    let file = std::fs::read_to_string(place.path("project/p.ftp")).unwrap();
    assert!(place.says(&["run", "p.ftp", "--locked"], 3).contains("ftp::module::not_locked"));
    assert!(!Path::new(&place.path("project/ftp.lock")).exists());
    place.write("project/p.ftp", &file.replace("\"v1\"", "\"v9\""));
    assert!(place.says(&["lock", "p.ftp"], 1).contains("ftp::module::no_tag"));
}

#[test]
fn a_password_in_an_address_is_refused_and_repeated_nowhere() {
    let place = Place::new();
    let file = std::fs::read_to_string(place.path("project/p.ftp")).unwrap();
    let address = "https://me:canary-of-a-password@host.invalid/team";
    place.write("project/p.ftp", &file.replace(&place.address(), address));
    let mut said = String::new();
    for (words, code) in [
        (vec!["check", "p.ftp"], 3),
        (vec!["check", "p.ftp", "--json"], 3),
        (vec!["check", "p.ftp", "--sarif"], 3),
        (vec!["run", "p.ftp", "--locked"], 3),
        (vec!["lock", "p.ftp"], 1),
        (vec!["vendor", "p.ftp"], 1),
        (vec!["update", "p.ftp", "--dry-run"], 1),
    ] {
        let new = place.says(&words, code);
        assert!(new.contains("ftp::module::credentials"), "{words:?}: {new}");
        said += &new;
    }
    // Another mistake beside it is shown without it, too.
    place.write("project/p.ftp", &format!("use git(\"{address}\") as team\nlet x = (\n"));
    said += &place.says(&["check", "p.ftp"], 3);
    assert!(said.contains("ftp::module::not_pinned") && !said.contains("canary"), "{said}");
    assert!(!place.path("project/ftp.lock").exists());
}

#[test]
fn a_vendored_module_is_found_from_any_directory_and_uses_nothing_but_what_was_locked() {
    let place = Place::new();
    let from_above = |place: &Place, code: i32| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ftp"));
        command.current_dir(place.root.path()).env("XDG_CACHE_HOME", place.path("cache"));
        let output = command.args(["check", "project/p.ftp"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    place.says(&["vendor", "p.ftp"], 0);
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    from_above(&place, 0);

    // What lies beside a module on this machine is not part of it.
    place.write("outside.ftp", "recipe step(base: model, target: labelled, rate: float) = base -> finetune(target)\n");
    for outside in ["../../../outside.ftp".to_owned(), place.path("outside.ftp").display().to_string()] {
        let recipes = "use \"OUTSIDE\" as more\n\nrecipe tuned(base: model, target: labelled, rate: float = 5e-5) = base -> more.step(target, rate = rate)\n";
        place.write("team/recipes.ftp", &recipes.replace("OUTSIDE", &outside));
        place.commit("v1");
        std::fs::remove_file(place.path("project/ftp.lock")).unwrap();
        place.says(&["vendor", "p.ftp"], 0);
        assert!(from_above(&place, 3).contains("leads out of the repository"));
    }
    let file = std::fs::read_to_string(place.path("project/p.ftp")).unwrap();
    place.write("project/p.ftp", &file.replace("tag = \"v1\"", "tag = \"v1\", path = \"../../outside.ftp\""));
    assert!(from_above(&place, 3).contains("leads out of the repository"));
}
