//! What is to stay secret is nowhere.
#![cfg(all(feature = "train", feature = "remote"))]

mod machines;
mod place;
mod servers;
mod walk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machines::{Machine, SECRET, STAGES, Shelf};
use servers::hub::Hub;
use tempfile::TempDir;
use walk::files_under;

const TOKEN: &str = "hf_canaryOfTheHubsToken";

const HUB: &str = "\
param token: secret = secret(\"TEAM_TOKEN\")

let target = labelled(\"target/{train,dev,test}.jsonl\")
let base = hf(\"team/model\", revision = \"main\", token = token)

pipeline small = base -> finetune(target, learning_rate = 1e-2, epochs = 1, max_length = 16)
publish small to \"out/small\"
";

/// Everything that a run, its reports and its remote write and say is searched for what is to stay secret, and so is what
/// its processes were started with.
#[test]
fn secrets_are_nowhere() {
    let (buckets, logs) = (Shelf::new(), TempDir::new().expect("a directory"));
    let mut machine = Machine::that_signs().with_s3(buckets.0.path());
    let signing = fs::read_to_string(machine.place.at("config/ftp/signing.key")).expect("written by `ftp key new`");
    let signing = signing.lines().find_map(|line| line.strip_prefix("ed25519-secret:")).expect("a key").to_owned();
    // Outside of what is searched.
    fs::rename(machine.place.at("config/ftp/signing.key"), logs.path().join("signing.key")).expect("moved");
    machine.environment.push(("FTP_SIGNING_KEY", logs.path().join("signing.key").display().to_string()));
    let canaries = [SECRET, &signing, TOKEN];

    let mut said: Vec<u8> = vec![];
    let options = "--json --junit junit.xml --tensorboard board --push --remote s3://results/canaries -j 2";
    watch(machine.command(&format!("run p.ftp {options}")), &mut said);

    // What was published comes back from a hub that wants a token.
    let hub = Hub::new().with("team/model", &machine.place.at("out/full"));
    hub.state().token = Some(TOKEN.to_owned());
    machine.place.write("hub.ftp", HUB);
    machine.environment.push(("HF_ENDPOINT", format!("http://{}", hub.address)));
    machine.environment.push(("XDG_CACHE_HOME", machine.place.at("cache").display().to_string()));
    machine.environment.push(("TEAM_TOKEN", TOKEN.to_owned()));
    watch(machine.command(&format!("run hub.ftp {options}")), &mut said);
    machine.place.write("wrong.ftp", &HUB.replace("secret(\"TEAM_TOKEN\")", &format!("\"{TOKEN}\"")));

    for words in [
        "run hub.ftp --help",
        "plan hub.ftp --json",
        "graph hub.ftp",
        "bundle hub.ftp --results -o hub.tar",
        "report -o hub.html",
        "check wrong.ftp",
        "check wrong.ftp --json",
        "check wrong.ftp --sarif",
        "run wrong.ftp",
        &format!("check hub.ftp --set token={TOKEN}"),
        "report -o report.html",
        "log",
        "log full",
        "show full",
        "show full --json",
        "plan p.ftp --json",
        "graph p.ftp",
        "cache ls",
        "doctor",
        "bundle p.ftp --results -o all.tar",
        "publish full out/again",
        "key show",
        "run p.ftp --set rate=1",
        "pull p.ftp --from s3://results/other",
        "push p.ftp --to s3://results/other",
        "push p.ftp --to https://user:canary-5b2e-of-the-secret-access-key@host/x",
    ] {
        let output = machine.command(words).output().expect("ftp starts");
        said.extend(output.stdout);
        said.extend(output.stderr);
    }
    // Where a key is written in place of a path, as one may by mistake.
    let output =
        machine.command("push p.ftp --to s3://results").env("FTP_SIGNING_KEY", &signing).output().expect("starts");
    said.extend(output.stdout.iter().chain(&output.stderr));

    // The mistake itself.
    fs::remove_file(machine.place.at("wrong.ftp")).expect("there");

    let mut searched = 0;
    let of_machine = files_under(machine.place.path());
    let all = of_machine
        .iter()
        .chain(&files_under(buckets.0.path()))
        .map(|path| (path.display().to_string(), fs::read(path).expect("read")))
        .collect::<Vec<_>>();
    for (name, content) in all.iter().map(|(name, content)| (name.as_str(), content)).chain([("what was said", &said)])
    {
        for canary in canaries {
            let found = content.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found && !name.contains(canary), "a secret is in {name}");
        }
        searched += content.len();
    }
    println!(
        "{searched} bytes in {} files and {} bytes of output, arguments and environments searched",
        all.len(),
        said.len()
    );
    assert!(files_under(buckets.0.path()).len() > STAGES, "it was pushed");
}

/// Runs a command to its end, and takes down what it and its children were started with. What they write is searched later.
fn watch(mut command: Command, said: &mut Vec<u8>) {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let errors = tempfile::NamedTempFile::new().expect("a file");
    let mut run = command
        .stdout(output.reopen().expect("opened"))
        .stderr(errors.reopen().expect("opened"))
        .spawn()
        .expect("ftp starts");
    let mut children = 0;
    let status = loop {
        if let Some(status) = run.try_wait().expect("known") {
            break status;
        }
        let read = |process: &Path, file: &str| fs::read(process.join(file)).unwrap_or_default();
        let own = read(Path::new(&format!("/proc/{}", run.id())), "cmdline");
        for process in children_of(run.id()) {
            let words = read(&process, "cmdline");
            // Before a new process has begun its program, what it was started with is still its parent's.
            if words.is_empty() || words == own {
                continue;
            }
            children += 1;
            said.extend(words);
            said.extend(read(&process, "environ"));
        }
        said.extend(own);
        std::thread::sleep(Duration::from_millis(5));
    };
    for file in [output.path(), errors.path()] {
        said.extend(fs::read(file).expect("written"));
    }
    assert!(status.success() && children > 0, "{status}, {children} looks at children");
}

/// The directories in `/proc` of the processes that a process has started.
fn children_of(process: u32) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{process}"))
    })
    .collect()
}
