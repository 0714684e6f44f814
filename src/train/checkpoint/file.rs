//! The file of a checkpoint: a line that names the format, the header's length (8 bytes, little-endian) and the header
//! (JSON), the tensors' values (f32, little-endian) in the header's order, and the BLAKE3 digest of all before it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use indexmap::IndexMap;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Place, Saved, Snapshot};

const FORMAT: &[u8] = b"ftp checkpoint 1\n";

/// Values converted and written at a time.
const CHUNK: usize = 1 << 16;

#[derive(Serialize, Deserialize)]
struct Header {
    /// Version of the program.
    engine: String,
    key: String,
    step: u64,
    record: Map<String, Value>,
    tensors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
}

/// Writes a checkpoint beside its place and renames it: a file with the final name is whole, also after a loss of power.
pub(super) fn write(place: &Place, step: u64, snapshot: Snapshot) -> io::Result<()> {
    let directory = place.file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut out = Hashing { file: File::create(&place.draft)?, hasher: blake3::Hasher::new() };
    let entries = snapshot.tensors.iter().map(|(name, weight)| Entry { name: name.clone(), shape: weight.shape() });
    let header = serde_json::to_vec(&Header {
        engine: engine(),
        key: place.key.clone(),
        step,
        tensors: entries.collect(),
        record: snapshot.record,
    })?;
    out.put(FORMAT)?;
    out.put(&(header.len() as u64).to_le_bytes())?;
    out.put(&header)?;
    let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
    for (_, weight) in snapshot.tensors {
        for values in weight.to_host().data.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            out.put(&bytes)?;
        }
    }
    let digest = out.hasher.finalize();
    out.file.write_all(digest.as_bytes())?;
    out.file.sync_all()?;
    fs::rename(&place.draft, &place.file)?;
    File::open(directory)?.sync_all()
}

struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Hashing {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

/// The checkpoint of a place, if there is one.
///
/// # Errors
/// Why the file that is there can't be used, as the end of a sentence about it.
pub fn read(place: &Place) -> Result<Option<Saved>, String> {
    let file = match File::open(&place.file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it can't be read: {error}")),
    };
    // SAFETY: files with this name are renamed into place when whole, and never changed.
    let bytes = unsafe { Mmap::map(&file) }.map_err(|error| format!("it can't be read: {error}"))?;
    let content = bytes.len().checked_sub(blake3::OUT_LEN).map(|end| bytes.split_at(end));
    let Some((content, _)) = content.filter(|(content, digest)| blake3::hash(content).as_bytes() == digest) else {
        return Err("it is damaged: its content is not what was written".into());
    };
    let parsed = content.strip_prefix(FORMAT).and_then(|rest| rest.split_first_chunk()).and_then(|(length, rest)| {
        let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let start = FORMAT.len() + length.len() + header.len();
        Some((serde_json::from_slice::<Header>(header).ok()?, start))
    });
    let Some((header, mut start)) = parsed else {
        return Err("it is not in the form that this version of ftp writes".into());
    };
    if header.engine != engine() {
        return Err(format!("it was written by version {} of ftp, this is {}", header.engine, engine()));
    }
    if header.key != place.key {
        return Err("it is of another stage".into());
    }
    let mut tensors = IndexMap::new();
    for Entry { name, shape } in header.tensors {
        let count: usize = shape.iter().product();
        tensors.insert(name, (shape, start));
        start += count * size_of::<f32>();
    }
    if start != content.len() {
        return Err("it is damaged: its header does not fit its tensors".into());
    }
    Ok(Some(Saved { step: header.step, record: header.record, bytes, tensors }))
}

fn engine() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::hub::tensors::HostTensor;
    use crate::nn::parameters::Weight;

    fn place(directory: &Path) -> Place {
        Place { file: directory.join("a/checkpoint"), draft: directory.join("draft"), key: "k".into() }
    }

    fn weight() -> Weight {
        let data = vec![1.5, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, 0.1, f32::INFINITY];
        Weight::from_host(&HostTensor { shape: vec![2, 3], data }, &Device::flex()).unwrap()
    }

    fn written(place: &Place) {
        let mut snapshot = Snapshot::default();
        snapshot.record("loss", &(0.1 + 0.2, f64::MIN_POSITIVE / 3.0, 1e300 / 7.0));
        snapshot.tensor("weights", "a.weight", &weight());
        snapshot.tensor("first", "a.weight", &weight());
        write(place, 7, snapshot).unwrap();
    }

    #[test]
    fn what_was_written_comes_back_with_the_same_bits() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        assert!(read(&place).unwrap().is_none());
        written(&place);
        let saved = read(&place).unwrap().unwrap();
        assert_eq!(saved.step, 7);
        let floats: (f64, f64, f64) = saved.record("loss").unwrap();
        assert_eq!(floats, (0.1 + 0.2, f64::MIN_POSITIVE / 3.0, 1e300 / 7.0));
        let bits = |tensor: HostTensor| tensor.data.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(saved.tensor("first", "a.weight").unwrap()), bits(weight().to_host()));
        assert!(saved.tensor("second", "a.weight").is_none());
        let other = Weight::from_host(&HostTensor { shape: vec![6], data: vec![0.0; 6] }, &Device::flex()).unwrap();
        assert!(saved.like("first", "a.weight", &other).is_none());
        assert!(!place.draft.exists());
    }

    #[test]
    fn a_flipped_bit_a_cut_and_any_other_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        written(&place);
        let good = fs::read(&place.file).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&place.file, flipped).unwrap();
            assert!(read(&place).is_err(), "byte {at}");
            fs::write(&place.file, &good[..at]).unwrap();
            assert!(read(&place).is_err(), "{at} bytes");
        }
        let whole = |content: &[u8]| [content, blake3::hash(content).as_bytes()].concat();
        fs::write(&place.file, whole(b"ftp checkpoint 9\nsomething newer")).unwrap();
        assert!(read(&place).err().unwrap().contains("form"));
        let header = |text: &str| [FORMAT, &(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let other = r#"{"engine":"0.0.1","key":"k","step":1,"record":{},"tensors":[]}"#;
        fs::write(&place.file, whole(&header(other))).unwrap();
        assert!(read(&place).err().unwrap().contains("version 0.0.1"));
        let long = format!(
            r#"{{"engine":"{}","key":"k","step":1,"record":{{}},"tensors":[{{"name":"a","shape":[9]}}]}}"#,
            engine()
        );
        fs::write(&place.file, whole(&header(&long))).unwrap();
        assert!(read(&place).err().unwrap().contains("does not fit"));
    }

    #[test]
    fn a_checkpoint_of_another_stage_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(directory.path());
        written(&place);
        let other = Place { key: "other".into(), ..place };
        assert!(read(&other).err().unwrap().contains("another stage"));
    }
}
