//! CUDA devices, through a library that panics where something is missing: here that becomes a reason.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, DeviceType, Tensor};

/// How many devices the driver shows, at least one; else why there is none. Opens none of them.
pub fn count() -> Result<usize, String> {
    match guarded(|| Device::enumerate(DeviceType::Cuda).len()) {
        Ok(0) => Err("no GPU or no driver was found: check that `nvidia-smi` lists one".to_owned()),
        Ok(count) => Ok(count),
        Err(reason) => Err(format!("the NVIDIA driver can't be used ({reason}): check that `nvidia-smi` runs")),
    }
}

/// Computes something on a device; the reason if that fails. An exponential, because such functions come from the CUDA
/// toolkit's `libdevice`, which may be missing where there is a driver.
pub fn try_out(device: &Device) -> Result<(), String> {
    guarded(|| drop(Tensor::<1>::ones([2], device).exp().into_data()))
}

/// The result of `work`, or the message of the first panic in any thread meanwhile: when the thread that drives a GPU
/// panics, the one that waits for it does so too, but knows less.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let first = Arc::new(Mutex::new(None));
    let heard = first.clone();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("no reason is known");
        heard.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| message.to_owned());
    }));
    // Nothing that `work` left half-done is used: the caller gives the device up.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    let message = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.map_err(|_| message.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_of_any_thread_is_the_reason() {
        let failed = guarded(|| {
            let driver = std::thread::spawn(|| panic!("the driver is too old"));
            driver.join().expect("the driver's thread lives");
        });
        assert_eq!(failed, Err("the driver is too old".to_owned()));
        assert_eq!(guarded(|| 3), Ok(3));
    }
}
