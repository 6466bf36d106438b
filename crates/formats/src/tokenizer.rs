//! Text to token ids and back, as a `tokenizer.json` says.

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer as Inner;

/// Longest file that is read.
const LONGEST: u64 = 1 << 28;

/// Why a tokenizer cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum TokenizerError {
    #[error("cannot read {}: {source}\nhint: a tokenizer is a `tokenizer.json`, as `transformers` saves it", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {fact}\nhint: the file is damaged, or of a kind of tokenizer that is not known", path.display())]
    Damaged { path: PathBuf, fact: String },
    #[error("{}: {fact}\nhint: check that the text and the tokenizer belong to the model", path.display())]
    Text { path: PathBuf, fact: String },
}

/// A tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    path: PathBuf,
    inner: Inner,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its rules of cutting and filling up are dropped.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Tokenizer, TokenizerError> {
        let io = |source| TokenizerError::Io {
            path: path.to_owned(),
            source,
        };
        let damaged = |fact: String| TokenizerError::Damaged {
            path: path.to_owned(),
            fact,
        };
        let length = std::fs::metadata(path).map_err(io)?.len();
        if length > LONGEST {
            return Err(damaged(format!("{length} bytes are too many")));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let mut inner = Inner::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Tokenizer {
            path: path.to_owned(),
            inner,
        })
    }

    /// The ids of a text, with the special tokens that the tokenizer puts around it.
    ///
    /// # Errors
    /// When the tokenizer cannot say the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(text, true)
            .map_err(|error| self.wrong(&*error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without special tokens.
    ///
    /// # Errors
    /// When the tokenizer cannot say the ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(|error| self.wrong(&*error))
    }

    fn wrong(&self, fact: &(dyn std::error::Error + Send + Sync)) -> TokenizerError {
        TokenizerError::Text {
            path: self.path.clone(),
            fact: fact.to_string(),
        }
    }
}
