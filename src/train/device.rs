//! The machine part that trains, by the name a stage's spec gives it.

use burn::tensor::Device;

use super::error::TrainError;

/// `cpu`, or `cuda:0` in programs built with the feature `cuda`.
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

/// How many CUDA devices there are; none in programs built without the feature `cuda`.
pub fn cuda_devices() -> Option<usize> {
    #[cfg(feature = "cuda")]
    return Some(Device::enumerate(burn::tensor::DeviceType::Cuda).len());
    #[cfg(not(feature = "cuda"))]
    None
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device, TrainError> {
    use burn::tensor::DeviceType;

    match Device::enumerate(DeviceType::Cuda).len() {
        0 => Err(no_device(name, "no CUDA device was found: check that `nvidia-smi` lists one, or use `cpu`")),
        count if index < count => Ok(Device::cuda(index)),
        count => Err(no_device(name, &format!("this machine's CUDA devices are `cuda:0` to `cuda:{}`", count - 1))),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: usize) -> Result<Device, TrainError> {
    Err(no_device(name, "this ftp was built without CUDA: build it with `--features cuda`, or use `cpu`"))
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
