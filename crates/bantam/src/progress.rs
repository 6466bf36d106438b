//! Telling the user how far long work is.

/// Hears of progress.
pub trait Progress: Sync {
    /// A stage of `total` steps begins.
    fn start(&self, stage: &str, total: usize);
    /// So many steps of the stage are done.
    fn at(&self, done: usize);
    /// A few words on how it goes.
    fn note(&self, _text: &str) {}
    /// A line to keep: something was found.
    fn say(&self, _text: &str) {}
    /// The stage is over.
    fn finish(&self);
}

/// Does work that says how far it is, from any thread, as one stage; nothing begins where it says nothing.
pub(crate) fn staged<T>(
    progress: &dyn Progress,
    stage: &str,
    work: impl FnOnce(&(dyn Fn(usize, usize) + Sync)) -> T,
) -> T {
    let started = std::sync::Once::new();
    let result = work(&|done, all| {
        started.call_once(|| progress.start(stage, all));
        progress.at(done);
    });
    if started.is_completed() {
        progress.finish();
    }
    result
}

/// Says nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: usize) {}
    fn at(&self, _: usize) {}
    fn finish(&self) {}
}
