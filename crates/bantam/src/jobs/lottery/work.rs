//! The folder of a lottery's files.

use std::path::{Path, PathBuf};

use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, Model};

use super::LotteryJob;
use crate::{Error, pipeline, write_whole};

/// Files by name, which tell how far the work is.
pub(super) struct Work {
    folder: PathBuf,
}

/// Says which lottery the folder belongs to.
const IDENTITY: &str = "lottery.json";

impl Work {
    /// The folder, empty unless work is resumed.
    pub(super) fn open(job: &LotteryJob) -> Result<Work, Error> {
        let work = Work {
            folder: job.work.clone(),
        };
        std::fs::create_dir_all(&work.folder).map_err(|source| failed(&work.folder, source))?;
        let identity = identity(job);
        let path = work.path(IDENTITY);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if job.resume && !before.is_empty() && before != identity {
            return Err(Error::Usage {
                message: format!("{} holds rounds of other settings", work.folder.display()),
                hint: "start anew without --resume, or choose another --work".to_owned(),
            });
        }
        if before.is_empty() || !job.resume {
            work.clear()?;
            write_whole(&path, identity.as_bytes())?;
        }
        Ok(work)
    }

    /// Removes what a lottery before has left.
    fn clear(&self) -> Result<(), Error> {
        let entries = std::fs::read_dir(&self.folder).map_err(|source| failed(&self.folder, source))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let is_ours = name == IDENTITY || name == "rewind.onnx" || name == "control.onnx";
            if is_ours || (name.starts_with("round-") && name.ends_with(".onnx")) {
                std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The graph in a file, if that is there.
    pub(super) fn read(&self, name: &str) -> Result<Option<Graph>, Error> {
        let path = self.path(name);
        match path.exists() {
            true => Ok(Some(pipeline::load(&path)?.graph)),
            false => Ok(None),
        }
    }

    /// Writes a graph of the model.
    pub(super) fn write(&self, name: &str, model: &Model, graph: Graph) -> Result<(), Error> {
        let model = Model {
            graph,
            ..model.clone()
        };
        pipeline::export(&model, &self.path(name), &SaveOptions::default())
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        action: "cannot be used",
        source,
        hint: "choose another folder with --work",
    }
}

/// All that decides what the files hold.
fn identity(job: &LotteryJob) -> String {
    let identity = serde_json::json!({
        "model": job.model,
        "data": job.data,
        "settings": job.settings,
        "sparsity": job.sparsity,
        "rounds": job.rounds,
        "rewind-step": job.rewind_step,
        "control": job.control.map(|scheme| format!("{scheme:?}")),
    });
    format!("{identity:#}\n")
}
