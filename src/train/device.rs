//! The machine part that trains, by the name a stage's spec gives it.

use burn::tensor::Device;

use super::error::TrainError;

/// `cpu`, or `cuda:0` in programs built with the feature `cuda`. Takes nothing of the device: for that see [`open`].
///
/// # Errors
/// When the name is not one of these, or names a device this machine or this program does not have.
pub fn device(name: &str) -> Result<Device, TrainError> {
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::flex()),
        None if name == "cuda" => cuda(name, 0),
        Some(("cuda", index)) => match index.parse() {
            Ok(index) => cuda(name, index),
            Err(_) => Err(no_device(name, "the number after `cuda:` must be that of a device, from 0")),
        },
        _ => Err(no_device(name, "use `cpu` or `cuda:0`")),
    }
}

/// The device `name` after it has computed something, so that what is wrong with it is said here and not in the middle of a
/// stage. Takes memory of a GPU: only for processes that compute on it.
///
/// # Errors
/// Those of [`device`], and when the device is there but can't be used.
pub fn open(name: &str) -> Result<Device, TrainError> {
    let device = device(name)?;
    #[cfg(feature = "cuda")]
    if name != "cpu" {
        super::cuda::try_out(&device).map_err(|reason| TrainError::UnusableDevice { name: name.to_owned(), reason })?;
    }
    Ok(device)
}

/// How many CUDA devices there are, at least one; else why there is none and what to do.
pub fn cuda_devices() -> Result<usize, String> {
    #[cfg(feature = "cuda")]
    return super::cuda::count();
    #[cfg(not(feature = "cuda"))]
    Err("this program was built without CUDA: build it with `--features cuda`".to_owned())
}

fn cuda(name: &str, index: usize) -> Result<Device, TrainError> {
    let count = cuda_devices().map_err(|why| no_device(name, &format!("{why}, or use `cpu`")))?;
    #[cfg(feature = "cuda")]
    if index < count {
        return Ok(Device::cuda(index));
    }
    Err(no_device(name, &format!("`cuda:{index}` is not one of the {count} CUDA devices here, which count from 0")))
}

fn no_device(name: &str, help: &str) -> TrainError {
    TrainError::NoDevice { name: name.to_owned(), advice: help.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_unknown_names_are_errors() {
        assert!(device("cpu").is_ok());
        for name in ["gpu", "cpu:1", "cuda:x", "", "cuda:-1"] {
            assert!(device(name).unwrap_err().to_string().contains(name));
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_the_feature_a_cuda_device_is_refused_with_the_way_to_get_one() {
        let help = miette::Diagnostic::help(&device("cuda:0").unwrap_err()).unwrap().to_string();
        assert!(help.contains("--features cuda"), "{help}");
    }
}
