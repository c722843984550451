//! The client library's one thread.

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use std::ffi::c_int;
use std::sync::{Mutex, OnceLock, PoisonError};

static RUNNING: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);
static BOOTED: OnceLock<Result<(), String>> = OnceLock::new();

/// Starts the library where it does not run yet. It can be started once in a process and must be stopped before that
/// ends.
///
/// # Errors
/// What the library says; it says the same ever after.
pub(super) fn boot() -> Result<(), String> {
    BOOTED.get_or_init(start).clone()
}

#[allow(unsafe_code, reason = "the library's thread must be stopped before the process ends")]
fn start() -> Result<(), String> {
    unsafe extern "C" {
        fn atexit(call: extern "C" fn()) -> c_int;
    }
    extern "C" fn stop() {
        drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
    let network = FdbApiBuilder::default().build().map_err(super::said)?;
    // SAFETY: what is returned is dropped before the process ends: by `stop`, which runs then.
    let running = unsafe { network.boot() }.map_err(super::said)?;
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    // SAFETY: `stop` takes nothing, does not unwind, and lives as long as the program.
    if unsafe { atexit(stop) } != 0 {
        stop();
        return Err("the system does not let the client library be stopped in order".to_owned());
    }
    Ok(())
}
