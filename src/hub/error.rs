//! Why a directory or a file of tensors can't be read or written.

use std::path::{Path, PathBuf};

/// Every variant names the file.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HubError {
    #[error("there is no `{}`", path.display())]
    #[diagnostic(
        code(ftp::hub::missing_file),
        help(
            "a model directory holds config.json and model.safetensors, as `save_pretrained` of transformers writes them"
        )
    )]
    MissingFile { path: PathBuf },

    #[error("`{}` has no safetensors weights, only `{found}`", directory.display())]
    #[diagnostic(
        code(ftp::hub::pickled_weights),
        help(
            "pickle files can run code when they are read and are not opened; convert once in Python: \
             AutoModel.from_pretrained(\"{}\").save_pretrained(\"{}\", safe_serialization=True)",
            directory.display(),
            directory.display()
        )
    )]
    PickledWeights { directory: PathBuf, found: String },

    #[error("`{}` is not valid JSON: {reason}", path.display())]
    #[diagnostic(code(ftp::hub::bad_json), help("download or save the file again"))]
    BadJson { path: PathBuf, reason: String },

    #[error("`{}` is not a readable safetensors file: {reason}", path.display())]
    #[diagnostic(
        code(ftp::hub::bad_safetensors),
        help("the file may be cut short or a Git LFS pointer (a text file of three lines); download it again")
    )]
    BadSafetensors { path: PathBuf, reason: String },

    #[error("tensor `{name}` of `{}` holds {dtype}; f32, f16, bf16 and f64 can be read", path.display())]
    #[diagnostic(
        code(ftp::hub::dtype),
        help("quantised weights can't be trained; save the model in float32: model.float().save_pretrained(..)")
    )]
    Dtype { path: PathBuf, name: String, dtype: String },

    #[error("tensor `{name}` has the shape {shape:?}, which is not {elements} elements")]
    #[diagnostic(
        code(ftp::hub::shape),
        help("the product of a tensor's dimensions must be the number of its elements")
    )]
    Shape { name: String, shape: Vec<usize>, elements: usize },

    #[error("`{}` puts tensor `{name}` into `{shard}`, which does not hold it", index.display())]
    #[diagnostic(
        code(ftp::hub::incomplete_shards),
        help("the shards and the index are of different versions; download all again")
    )]
    IncompleteShards { index: PathBuf, name: String, shard: String },

    #[error("`{}` is not an index of weight files: {reason}", path.display())]
    #[diagnostic(
        code(ftp::hub::bad_index),
        help(
            "model.safetensors.index.json has an object `weight_map` from tensor names to file names of the same directory"
        )
    )]
    BadIndex { path: PathBuf, reason: String },

    #[error("can't {action} `{}`: {reason}", path.display())]
    #[diagnostic(
        code(ftp::hub::io),
        help("check that the path exists, that you may {action} it, and that the disk is not full")
    )]
    Io { action: &'static str, path: PathBuf, reason: std::io::Error },
}

impl HubError {
    /// An I/O error while reading: a file that is not there is its own kind.
    pub(crate) fn reading(path: &Path, reason: std::io::Error) -> Self {
        match reason.kind() {
            std::io::ErrorKind::NotFound => Self::MissingFile { path: path.into() },
            _ => Self::Io { action: "read", path: path.into(), reason },
        }
    }

    pub(crate) fn writing(path: &Path, reason: std::io::Error) -> Self {
        Self::Io { action: "write", path: path.into(), reason }
    }
}
