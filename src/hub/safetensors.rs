//! One file of tensors: read memory-mapped into f32, written atomically with the same bytes for the same tensors.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize_to_file};

use super::error::HubError;
use super::names::is_buffer;
use super::tensors::{HostTensor, Tensors};

/// Reads all tensors of a file, in the order of their data, as f32. Buffers of integers (`position_ids`) are left out.
///
/// # Errors
/// A missing or damaged file; a tensor of another type than f32, f16, bf16 or f64.
pub fn read_safetensors(path: &Path) -> Result<Tensors, HubError> {
    let file = File::open(path).map_err(|reason| HubError::reading(path, reason))?;
    // SAFETY: a read-only private map; files of tensors are replaced by renaming, never written in place. A program that
    // shortens the file while it is read would end this one, as it would with any memory-mapped file.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(|reason| HubError::reading(path, reason))?;
    let damaged = |reason: safetensors::SafeTensorError| HubError::BadSafetensors {
        path: path.into(),
        reason: reason.to_string(),
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut tensors = Tensors::new();
    for name in header.offset_keys() {
        let view = file.tensor(&name).map_err(damaged)?;
        match to_f32(view.dtype(), view.data()) {
            Some(data) => {
                tensors.insert(name, HostTensor { shape: view.shape().to_vec(), data });
            }
            None if is_buffer(&name) => {}
            None => {
                let dtype = format!("{:?}", view.dtype());
                return Err(HubError::Dtype { path: path.into(), name, dtype });
            }
        }
    }
    Ok(tensors)
}

/// Writes tensors as f32, sorted by name, with the metadata `transformers` asks for. The file appears whole or not at
/// all.
///
/// # Errors
/// A shape that does not fit its data; a directory that can't be written.
pub fn write_safetensors(path: &Path, tensors: &Tensors) -> Result<(), HubError> {
    for (name, tensor) in tensors {
        if tensor.shape.iter().product::<usize>() != tensor.data.len() {
            let (shape, elements) = (tensor.shape.clone(), tensor.data.len());
            return Err(HubError::Shape { name: name.clone(), shape, elements });
        }
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    super::directory::replace(path, |path| {
        let views = tensors.iter().map(|(name, tensor)| (name.as_str(), F32View(tensor)));
        serialize_to_file(views, Some(metadata), path).map_err(std::io::Error::other)
    })?;
    Ok(())
}

fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    /// `N`-byte elements.
    fn convert<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| element(*bytes)).collect()
    }
    Some(match dtype {
        Dtype::F32 => convert(bytes, f32::from_le_bytes),
        Dtype::F64 => convert(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => convert(bytes, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => convert(bytes, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        _ => return None,
    })
}

struct F32View<'a>(&'a HostTensor);

impl View for F32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.0.data.len() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file written by hand, after the format's description: length of the header, header, data.
    fn write_by_hand(path: &Path, header: &str, data: &[u8]) {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn every_float_type_is_read_as_f32_and_integer_buffers_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        // 1.5 in each type; one position id.
        let data = [
            0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // f64
            0, 0, 0xc0, 0x3f, // f32
            0, 0x3e, // f16
            0xc0, 0x3f, // bf16
            7, 0, 0, 0, 0, 0, 0, 0, // i64
        ];
        write_by_hand(
            &path,
            r#"{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"s":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},
               "h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[14,16]},
               "embeddings.position_ids":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}}"#,
            &data,
        );
        let tensors = read_safetensors(&path).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["d", "s", "h", "b"]);
        assert!(tensors.values().all(|tensor| tensor.data == [1.5]));
        assert_eq!(tensors["s"].shape, [1, 1]);
    }

    #[test]
    fn an_integer_tensor_that_is_no_buffer_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        write_by_hand(&path, r#"{"w.weight":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#, &[3]);
        let error = read_safetensors(&path).unwrap_err();
        assert!(
            matches!(&error, HubError::Dtype { name, dtype, .. } if name == "w.weight" && dtype == "I8"),
            "{error}"
        );
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_not_a_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        let tensors = Tensors::from([("a".to_string(), HostTensor { shape: vec![2], data: vec![1.0, 2.0] })]);
        write_safetensors(&path, &tensors).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in [0, 4, 20, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read_safetensors(&path).is_err(), "{length} bytes were accepted");
        }
    }

    #[test]
    fn the_same_tensors_in_any_order_give_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let tensor = |value: f32| HostTensor { shape: vec![1], data: vec![value] };
        let forward = Tensors::from([("a".to_string(), tensor(1.0)), ("b".to_string(), tensor(-0.0))]);
        let mut backward = forward.clone();
        backward.reverse();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        write_safetensors(&one, &forward).unwrap();
        write_safetensors(&two, &backward).unwrap();
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        assert_eq!(read_safetensors(&one).unwrap(), forward);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "temporary files stay behind");
    }

    #[test]
    fn a_shape_that_does_not_fit_its_data_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        let tensors = Tensors::from([("a".to_string(), HostTensor { shape: vec![3], data: vec![1.0] })]);
        assert!(matches!(write_safetensors(&path, &tensors), Err(HubError::Shape { .. })));
        assert!(!path.exists());
    }
}
