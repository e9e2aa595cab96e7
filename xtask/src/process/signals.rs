//! Ctrl-C and its like are noted, so that xtask ends in an order of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use crate::error::{Failure, Kind};

/// Starts to note SIGINT (Ctrl-C), SIGTERM and SIGHUP instead of dying from them.
/// A handler, unlike an ignored signal, is not inherited: children still end.
/// Fails when the operating system refuses the handler.
pub fn note_signals() -> Result<()> {
    let signals = [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        // A terminal that went away, as with a connection that broke.
        #[cfg(unix)]
        signal_hook::consts::SIGHUP,
    ];
    for number in signals {
        signal_hook::flag::register_usize(number, last_signal().clone(), number as usize)
            .context("installing a signal handler")?;
    }
    Ok(())
}

/// Fails once a signal came, with exit code 128 plus its number.
pub fn interrupted() -> Result<()> {
    match last() {
        0 => Ok(()),
        signal => Err(Failure::new("interrupted")
            .kind(Kind::Interrupted)
            .code(128 + signal as i32)
            .hint("cargo xtask status   # what serves now")
            .into()),
    }
}

/// Forgets the signal that came, so that recovery can run, and a second signal
/// can end it. Returns whether there was one.
pub fn take_signal() -> bool {
    take() != 0
}

/// The number of the last signal, or 0.
pub(super) fn last() -> usize {
    last_signal().load(Ordering::Relaxed)
}

/// The same, and forgets it.
pub(super) fn take() -> usize {
    last_signal().swap(0, Ordering::Relaxed)
}

/// Notes a signal again that was taken.
pub(super) fn put_back(number: usize) {
    last_signal().store(number, Ordering::Relaxed);
}

fn last_signal() -> &'static Arc<AtomicUsize> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    SIGNAL.get_or_init(Arc::default)
}
