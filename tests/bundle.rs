//! Bundles: packed on one machine, run on another, and refused when they are not what was packed.
#![cfg(feature = "train")]

mod place;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use place::{PIPELINE, Place};

/// The entries of an archive: name, kind and content.
type Entries = Vec<(String, tar::EntryType, Vec<u8>)>;

fn entries(archive: &[u8]) -> Entries {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let all = tar.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let kind = entry.header().entry_type();
        let mut content = vec![];
        entry.read_to_end(&mut content).expect("read");
        (name, kind, content)
    });
    all.collect()
}

/// An archive of these entries, as somebody might write it by hand.
fn archive(entries: &Entries) -> Vec<u8> {
    let mut tar = tar::Builder::new(vec![]);
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_old();
        let bytes = name.as_bytes();
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if *kind == tar::EntryType::Symlink {
            header.as_old_mut().linkname[..4].copy_from_slice(b"/etc");
        }
        header.set_cksum();
        tar.append(&header, &content[..]).expect("appended");
    }
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gzip.write_all(&tar.into_inner().expect("written")).expect("written");
    gzip.finish().expect("written")
}

fn run_events(place: &Place, arguments: &[&str]) -> Vec<serde_json::Value> {
    let out = place.ftp(&[arguments, &["--json"]].concat(), 0);
    out.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

fn count(events: &[serde_json::Value], kind: &str) -> usize {
    events.iter().filter(|event| event["event"] == kind).count()
}

#[test]
fn a_bundle_with_results_runs_elsewhere_and_trains_nothing() {
    let here = Place::new(PIPELINE);
    let table = here.ftp(&["run", "p.ftp", "--rate", "2e-2"], 0);
    let said = here.ftp(&["bundle", "p.ftp", "--rate", "2e-2", "--results", "-o", "one.tar.gz"], 0);
    assert!(said.contains("with 5 results"), "{said}");

    let there = Place::empty();
    fs::copy(here.at("one.tar.gz"), there.at("one.tar.gz")).expect("copied");
    let said = there.ftp(&["unbundle", "one.tar.gz"], 0);
    assert!(
        said.contains("5 results, 5 of them new") && said.contains("ftp run one/p.ftp --locked --set rate=2e-2"),
        "{said}"
    );
    let events = run_events(&there, &["run", "one/p.ftp", "--locked", "--set", "rate=2e-2"]);
    assert_eq!((count(&events, "stage_hit"), count(&events, "stage_started")), (5, 0), "{events:?}");
    there.ftp(&["cache", "verify"], 0);
    let again = there.ftp(&["run", "one/p.ftp", "--locked", "--set", "rate=2e-2"], 0);
    let tables =
        |text: &str| text.lines().take_while(|line| !line.contains("published")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(tables(&again), tables(&table));
    assert_eq!(
        fs::read(there.at("one/out/best/model.safetensors")).expect("published"),
        fs::read(here.at("out/best/model.safetensors")).expect("published")
    );

    // Once more into the same store, nothing is new; into the same directory, nothing is written.
    assert!(there.ftp(&["unbundle", "one.tar.gz", "two"], 0).contains("0 of them new"));
    assert!(there.ftp(&["unbundle", "one.tar.gz", "two"], 1).contains("ftp::bundle::occupied"));
}

#[test]
fn equal_contents_are_equal_bytes_whenever_and_wherever_they_are_packed() {
    let (one, other) = (Place::new(PIPELINE), Place::new(PIPELINE));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    other.write("corpus.txt", &other.read("corpus.txt"));
    for place in [&one, &other] {
        place.ftp(&["bundle", "p.ftp"], 0);
        place.ftp(&["bundle", "p.ftp", "-o", "plain.tar"], 0);
    }
    let bytes = |place: &Place, name: &str| fs::read(place.at(name)).expect("packed");
    assert_eq!(bytes(&one, "p.tar.gz"), bytes(&other, "p.tar.gz"));
    assert_eq!(bytes(&one, "plain.tar"), bytes(&other, "plain.tar"));
    let names: Vec<String> = entries(&bytes(&one, "p.tar.gz")).into_iter().map(|(name, ..)| name).collect();
    let files =
        ["corpus.txt", "p.ftp", "target/dev.jsonl", "target/test.jsonl", "target/train.jsonl", "team/recipes.ftp"];
    assert_eq!(names[0], "bundle.json");
    assert_eq!(names[1..], files.map(|file| format!("files/{file}")));
    one.ftp(&["unbundle", "plain.tar", "elsewhere"], 0);
    assert_eq!(one.read("elsewhere/p.ftp"), one.read("p.ftp"));
    assert!(one.ftp(&["bundle", "p.ftp", "-o", "p.zip"], 2).contains(".tar.gz"));
}

#[test]
fn data_can_be_left_out_and_is_listed_by_digest() {
    let here = Place::new(PIPELINE);
    let said = here.ftp(&["bundle", "p.ftp", "--no-data"], 0);
    let digest = blake3::hash(here.read("corpus.txt").as_bytes()).to_hex().to_string();
    assert!(said.contains("corpus.txt of corpus") && said.contains(&digest), "{said}");
    here.ftp(&["unbundle", "p.tar.gz", "there"], 0);
    assert!(here.ftp(&["check", "there/p.ftp"], 3).contains("ftp::data::missing"));
    assert!(here.read("there/bundle.json").contains(&digest));
}

#[test]
fn what_lies_outside_of_the_project_is_left_out_or_refused() {
    let here = Place::new(PIPELINE);
    here.write(
        "inner/p.ftp",
        &PIPELINE
            .replace("\"team/", "\"../team/")
            .replace("(\"corpus", "(\"../corpus")
            .replace("(\"target", "(\"../target"),
    );
    assert!(here.ftp(&["bundle", "inner/p.ftp"], 1).contains("ftp::bundle::outside"), "a module is needed");
    here.ftp(&["bundle", "inner/p.ftp", "--within", ".", "-o", "whole.tar.gz"], 0);
    let there = Place::empty();
    fs::copy(here.at("whole.tar.gz"), there.at("whole.tar.gz")).expect("copied");
    there.ftp(&["unbundle", "whole.tar.gz"], 0);
    there.ftp(&["check", "whole/inner/p.ftp"], 0);
}

#[test]
fn results_that_are_not_there_can_not_be_packed() {
    let here = Place::new(PIPELINE);
    let said = here.ftp(&["bundle", "p.ftp", "--results"], 1);
    assert!(said.contains("ftp::bundle::no_result") && said.contains("pretrain"), "{said}");
    assert!(!here.at("p.tar.gz").exists());
}

/// Nothing of an archive that was refused is anywhere.
fn refused(place: &Place, bytes: &[u8], what: &str) -> String {
    fs::write(place.at("bad.tar.gz"), bytes).expect("written");
    let said = place.ftp(&["unbundle", "bad.tar.gz", "bad"], 1);
    assert!(said.contains("ftp::bundle::"), "{what}: {said}");
    assert!(!place.at("bad").exists(), "{what}");
    let left: Vec<_> = fs::read_dir(place.path()).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "bad.tar.gz" || name == "store"), "{what}: {left:?}");
    for part in ["results", "outputs", "blobs", "attempts"] {
        let entries = fs::read_dir(place.at("store").join(part)).map_or(0, Iterator::count);
        assert_eq!(entries, 0, "{what}: something is in {part}");
    }
    said
}

#[test]
fn a_damaged_or_hostile_bundle_is_refused_and_leaves_nothing() {
    let here = Place::new(PIPELINE);
    here.ftp(&["run", "p.ftp"], 0);
    here.ftp(&["bundle", "p.ftp", "--results"], 0);
    let packed = fs::read(here.at("p.tar.gz")).expect("packed");
    let whole = entries(&packed);
    let there = Place::empty();
    let file = tar::EntryType::Regular;

    for cut in [0, 1, 100, packed.len() / 2, packed.len() - 9] {
        refused(&there, &packed[..cut], &format!("cut at {cut}"));
    }
    for at in [packed.len() / 3, packed.len() / 2, packed.len() - 5] {
        let mut bytes = packed.clone();
        bytes[at] ^= 1;
        refused(&there, &bytes, &format!("a flipped bit at {at}"));
    }
    // Each entry but the index with one other byte.
    for at in 1..whole.len() {
        let mut one = whole.clone();
        if let Some(byte) = one[at].2.first_mut() {
            *byte ^= 1;
            let said = refused(&there, &archive(&one), &one[at].0);
            assert!(said.contains("is not what its index says"), "{said}");
        }
    }
    let with = |entry: (&str, tar::EntryType, &[u8]), at: usize| {
        let mut one = whole.clone();
        one.insert(at, (entry.0.to_owned(), entry.1, entry.2.to_vec()));
        archive(&one)
    };
    for name in ["files/../../escaped", "/tmp/ftp-escaped", "../escaped", "files/more"] {
        refused(&there, &with((name, file, b"x"), 1), name);
        refused(&there, &with((name, file, b"x"), whole.len()), name);
    }
    refused(&there, &with(("files/link", tar::EntryType::Symlink, b""), 1), "a link");
    let mut linked = whole.clone();
    linked[1].1 = tar::EntryType::Symlink;
    refused(&there, &archive(&linked), "a link in the place of a file");
    let mut missing = whole.clone();
    missing.pop();
    refused(&there, &archive(&missing), "one too few");

    // An index that fits its entries, and is not one to follow.
    let index: serde_json::Value = serde_json::from_slice(&whole[0].2).expect("JSON");
    let renamed = |to: &str| {
        let mut index = index.clone();
        let mut entries = whole.clone();
        index["files"][0]["path"] = to.into();
        entries[0].2 = index.to_string().into_bytes();
        entries[1].0 = format!("files/{to}");
        archive(&entries)
    };
    for to in ["../escaped", "a/../../escaped", "/tmp/ftp-escaped", "P.FTP", "a\\b", ""] {
        refused(&there, &renamed(to), to);
    }
    let mut swapped = index.clone();
    let blobs = swapped["blobs"].as_array_mut().expect("blobs");
    let digest = blobs[0]["digest"].clone();
    blobs[1]["digest"] = digest;
    let mut entries = whole.clone();
    entries[0].2 = swapped.to_string().into_bytes();
    refused(&there, &archive(&entries), "a blob under another's name");
    let mut newer = index.clone();
    newer["ftp_bundle"] = 99.into();
    entries[0].2 = newer.to_string().into_bytes();
    assert!(refused(&there, &archive(&entries), "newer").contains("ftp::bundle::newer"));
    refused(&there, b"not an archive", "no archive");
}

#[test]
fn a_result_that_does_not_fit_its_manifest_never_enters_the_store() {
    let here = Place::new(PIPELINE);
    here.ftp(&["run", "p.ftp"], 0);
    here.ftp(&["bundle", "p.ftp", "--results"], 0);
    let mut entries = entries(&fs::read(here.at("p.tar.gz")).expect("packed"));
    // A manifest with other numbers, and an index that vouches for it.
    let at = entries.iter().position(|(name, ..)| name.starts_with("results/")).expect("a result");
    let text =
        String::from_utf8(entries[at].2.clone()).expect("UTF-8").replacen("\"accuracy\":0.", "\"accuracy\":1.", 1);
    let mut index: serde_json::Value = serde_json::from_slice(&entries[0].2).expect("JSON");
    let key = entries[at].0.trim_start_matches("results/").to_owned();
    for entry in index["results"].as_array_mut().expect("results") {
        if entry["path"] == key.as_str() {
            entry["digest"] = blake3::hash(text.as_bytes()).to_hex().to_string().into();
            entry["bytes"] = text.len().into();
        }
    }
    let changed = text.as_bytes() != entries[at].2;
    entries[at].2 = text.into_bytes();
    entries[0].2 = index.to_string().into_bytes();
    if changed {
        let there = Place::empty();
        fs::write(there.at("bad.tar.gz"), archive(&entries)).expect("written");
        assert!(there.ftp(&["unbundle", "bad.tar.gz", "bad"], 1).contains("ftp::store::corrupt_manifest"));
        assert!(!there.at("bad").exists());
        assert_eq!(fs::read_dir(there.at("store/results")).expect("read").count(), 0);
    }
}

#[test]
fn modules_of_repositories_travel_along() {
    let here = Place::empty();
    here.write("team/recipes.ftp", "recipe tuned(base: model, target: labelled) = base -> finetune(target)\n");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(here.at("team")).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]);
        assert!(command.env("GIT_CONFIG_GLOBAL", "/dev/null").args(arguments).status().expect("git").success());
    };
    git(&["init", "--quiet", "."]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "v1"]);
    let address = format!("file://{}", here.at("team").display());
    here.write(
        "project/data/train.jsonl",
        "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n",
    );
    here.write("project/corpus.txt", "one line\nanother line\n");
    here.write(
        "project/p.ftp",
        &format!(
            "use git(\"{address}\", tag = \"v1\") as team\nlet corpus = text(\"corpus.txt\")\nlet target = labelled(\"data/*.jsonl\")\n\
             pipeline main = pretrain(corpus) -> team.tuned(target)\n"
        ),
    );
    let ftp = |cache: &Path, arguments: &[&str]| {
        let output = here.command(arguments).env("XDG_CACHE_HOME", cache).output().expect("ftp starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    ftp(&here.at("cache"), &["lock", "project/p.ftp"]);
    ftp(&here.at("cache"), &["bundle", "project/p.ftp"]);
    fs::remove_dir_all(here.at("team")).expect("removed");
    ftp(&here.at("other"), &["unbundle", "p.tar.gz"]);
    ftp(&here.at("other"), &["check", "p/p.ftp"]);
}
