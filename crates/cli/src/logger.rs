//! Messages of the library's crates on standard error, when the user asks for them.

use log::{LevelFilter, Log, Metadata, Record};

use crate::output;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bantam")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            output::talk(&format!("debug: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Prints messages from now on.
pub(crate) fn start() {
    // It fails only where a logger is installed already.
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
