//! Progress bars on standard error, when that is a terminal.

use std::sync::Mutex;

use bantam::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// One bar for each stage.
pub(crate) struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    pub(crate) fn new() -> Bars {
        Bars(Mutex::new(None))
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: usize) {
        let style = ProgressStyle::with_template("{msg:<10} {bar:40} {pos}/{len} ({per_sec}, {eta} left)");
        let bar = ProgressBar::new(total as u64).with_message(stage.to_owned());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        *self.bar() = Some(bar);
    }

    fn at(&self, done: usize) {
        if let Some(bar) = &*self.bar() {
            bar.set_position(done as u64);
        }
    }

    fn note(&self, text: &str) {
        if let Some(bar) = &*self.bar() {
            bar.set_message(text.to_owned());
        }
    }

    fn say(&self, text: &str) {
        match &*self.bar() {
            Some(bar) => bar.suspend(|| crate::output::talk(text)),
            None => crate::output::talk(text),
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }
}
