//! Ctrl-C and its like: noted, so that xtask ends in an order of its own.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};

use crate::error::Failure;

/// Fails once SIGINT (Ctrl-C), SIGTERM or SIGHUP came, with exit code 128 plus
/// the signal's number.
///
/// # Errors
/// After a signal only.
pub fn interrupted() -> Result<()> {
    match signal().load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Failure::new("interrupted")
            .code(128 + signal as i32)
            .hint("cargo xtask status   # where things stand")
            .into()),
    }
}

/// Takes note of a signal that came, so that what puts things right again can
/// run, and a second one end it; whether there was one.
pub fn take_signal() -> bool {
    signal().swap(0, Ordering::Relaxed) != 0
}

/// Starts to note these signals instead of dying from them. A handler,
/// unlike an ignored signal, is not inherited: children still end.
///
/// # Errors
/// When the operating system refuses the handler.
pub fn note_signals() -> Result<()> {
    let signals = [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        // A terminal that went away, as with a connection that broke.
        #[cfg(unix)]
        signal_hook::consts::SIGHUP,
    ];
    for number in signals {
        signal_hook::flag::register_usize(number, signal().clone(), number as usize)
            .context("installing a signal handler")?;
    }
    Ok(())
}

/// The number of the last signal that came, or 0.
pub(super) fn signal() -> &'static Arc<AtomicUsize> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    SIGNAL.get_or_init(Arc::default)
}
