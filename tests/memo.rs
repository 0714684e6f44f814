//! Files that have not changed are not read again, and those that have are.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ftp::data::FileWorld;
use ftp::data::memo::Memo;
use ftp::lang::value::Value;
use ftp::lang::world::{SourceFacts, SourceRequest, World};
use ftp::methods;
use indexmap::IndexMap;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.write("one line\nanother line\n");
        place
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("domain.txt")
    }

    /// Writes the file, and makes it an hour old.
    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
        age(&self.file());
    }

    fn describe(&self) -> SourceFacts {
        let world =
            FileWorld { memo: Some(Memo::new(self.root.path().join("memo"))), ..FileWorld::new(self.root.path()) };
        let signature = methods::registry().get("text").unwrap();
        let defaults = signature.parameters.iter().filter_map(|parameter| match &parameter.default {
            ftp::lang::signature::Default::Value(value) => Some((parameter.name.to_owned(), value.clone())),
            _ => None,
        });
        let mut parameters: IndexMap<String, Value> = defaults.collect();
        parameters.insert("path".into(), Value::String("domain.txt".into()));
        world.describe(&SourceRequest { method: "text".into(), parameters, directory: String::new() }).unwrap()
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.path().join("memo")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// The change time can't be set, so a file counts as settled only once it is older than the racy time.
fn age(file: &Path) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let times = FileTimes::new().set_modified(hour_ago).set_accessed(hour_ago);
    File::options().write(true).open(file).unwrap().set_times(times).unwrap();
}

fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

/// Makes an entry that could only come from the memo.
fn mark(entry: &Path) {
    let bytes = fs::read(entry).unwrap();
    let body = String::from_utf8(bytes[64..].to_vec()).unwrap().replace("\"rows\":2", "\"rows\":77");
    assert!(body.contains("77"));
    fs::write(entry, blake3::hash(body.as_bytes()).to_hex().to_string() + &body).unwrap();
}

#[test]
fn what_has_just_changed_is_not_remembered_and_what_is_settled_is() {
    let place = Place::new();
    place.describe();
    assert!(place.entries().is_empty(), "a file changed a moment ago may change again unseen");
    settle();
    let first = place.describe();
    assert_eq!(place.entries().len(), 1);
    mark(&place.entries()[0]);
    let second = place.describe();
    assert_eq!((first.files[0].rows, second.files[0].rows), (2, 77), "the second answer is not from the memo");
    assert_eq!(first.files[0].digest, second.files[0].digest);
}

#[test]
fn a_changed_a_touched_or_a_replaced_file_is_read_again() {
    let place = Place::new();
    settle();
    let first = place.describe();
    mark(&place.entries()[0]);
    // The same size and the same modification time, another text.
    let modified = fs::metadata(place.file()).unwrap().modified().unwrap();
    fs::write(place.file(), "one line\nanother lane\n").unwrap();
    File::options().write(true).open(place.file()).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    let changed = place.describe();
    assert_eq!(changed.files[0].rows, 2);
    assert_ne!(changed.files[0].digest, first.files[0].digest);
    // Touched: read again, with the same answer.
    settle();
    place.describe();
    mark(&place.entries()[0]);
    age(&place.file());
    let touched = place.describe();
    assert_eq!((touched.files[0].rows, &touched.files[0].digest), (2, &changed.files[0].digest));
}

#[test]
fn a_damaged_or_foreign_entry_counts_as_none() {
    let place = Place::new();
    settle();
    place.describe();
    let entry = place.entries()[0].clone();
    let whole = fs::read(&entry).unwrap();
    for damaged in [vec![], whole[..whole.len() / 2].to_vec(), [&whole[..70], b"X", &whole[71..]].concat()] {
        fs::write(&entry, damaged).unwrap();
        assert_eq!(place.describe().files[0].rows, 2);
    }
}

#[test]
fn times_of_files_and_clocks_decide_nothing() {
    let place = Place::new();
    let first = place.describe();
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    // As a copy without times has it, of clocks that are slow and fast, and of long ago and long hence.
    let times = [SystemTime::UNIX_EPOCH, now - hour, now, now + hour, now + 10_000 * hour];
    for time in times {
        for modified in [false, true] {
            let text = if modified { "one line\nanother lane\n" } else { "one line\nanother line\n" };
            fs::write(place.file(), text).unwrap();
            let times = FileTimes::new().set_modified(time);
            File::options().write(true).open(place.file()).unwrap().set_times(times).unwrap();
            assert_eq!(place.describe().files[0].digest != first.files[0].digest, modified, "{time:?}");
        }
    }
    println!("{} files of {} times: the digest is that of the content", 2 * times.len(), times.len());
}
