//! Rows of tokens: each row is an input without its last token, and a label without its first.

use std::path::Path;

use super::DataError;
use super::array::Array;
use super::manifest::{SplitEntry, resolve};
use super::source::{Reference, Role, Source};
use crate::tokenizer::Tokenizer;

/// Targets of a row of text where the manifest does not say it.
const DEFAULT_LENGTH: usize = 512;

/// What one split says of its tokens.
pub(super) enum Tokens<'a> {
    /// Rows of ids in array files.
    Rows(&'a [String]),
    /// Texts that a tokenizer turns into one stream of ids, cut in rows.
    Text(&'a [String]),
}

impl SplitEntry {
    /// The tokens, if the split is of tokens.
    pub(super) fn sequences(&self) -> Option<Tokens<'_>> {
        let tokens = self.tokens.as_ref().map(|files| Tokens::Rows(files.as_slice()));
        tokens.or_else(|| self.text.as_ref().map(|files| Tokens::Text(files.as_slice())))
    }
}

/// The inputs and the labels of a split of tokens in a manifest's folder.
pub(super) fn open(folder: &Path, entry: &SplitEntry, tokens: &Tokens<'_>) -> Result<[Source; 2], DataError> {
    let arrays = match tokens {
        Tokens::Rows(files) => token_rows(folder, files)?,
        Tokens::Text(files) => vec![tokenized(folder, entry, files)?],
    };
    let part = |first: usize| {
        let arrays = arrays
            .iter()
            .map(|array| array.window(first, array.row_shape[0] - 1));
        Source::Arrays(arrays.collect())
    };
    Ok([part(0), part(1)])
}

/// Arrays of two or more integers a row.
fn token_rows(folder: &Path, files: &[String]) -> Result<Vec<Array>, DataError> {
    let references = files.iter().map(|file| Reference::new(folder, file));
    let references = references.collect::<Result<Vec<_>, _>>()?;
    let Source::Arrays(arrays) = Source::arrays(&references, Role::Input("tokens"))? else {
        return Ok(Vec::new());
    };
    let fits =
        |array: &Array| array.dtype.is_integer() && matches!(*array.row_shape, [tokens] if tokens >= 2);
    match arrays.iter().all(fits) {
        true => Ok(arrays),
        false => Err(DataError::TokenRows {
            path: references[0].path.clone(),
            dtype: arrays[0].dtype,
            shape: arrays[0].row_shape.clone(),
        }),
    }
}

/// All texts as one stream of ids, in rows that share their border token with their neighbours.
fn tokenized(folder: &Path, entry: &SplitEntry, files: &[String]) -> Result<Array, DataError> {
    let tokenizer = entry.tokenizer.as_deref().unwrap_or("tokenizer.json");
    let tokenizer = Tokenizer::open(&resolve(folder, tokenizer)?)?;
    let mut ids = Vec::new();
    for file in files {
        let path = resolve(folder, file)?;
        let text = std::fs::read_to_string(&path).map_err(|problem| DataError::io(&path, problem))?;
        for document in documents(&text, entry.separator.as_deref()) {
            ids.extend(tokenizer.encode(document)?);
        }
    }
    let length = entry.length.unwrap_or(DEFAULT_LENGTH);
    if ids.len() <= length {
        return Err(DataError::ShortText {
            path: resolve(folder, &files[0])?,
            tokens: ids.len(),
            length,
        });
    }
    Ok(Array::overlapping(&ids, length + 1, length))
}

/// The parts of a text between lines that are the separator; all of it where there is none.
fn documents<'a>(text: &'a str, separator: Option<&str>) -> Vec<&'a str> {
    let Some(separator) = separator else {
        return vec![text];
    };
    let (mut documents, mut start, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches(['\n', '\r']) == separator {
            documents.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    let trimmed = documents.into_iter().map(str::trim);
    trimmed.filter(|document| !document.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_end_at_separators() {
        let text = "a\nb\n<end>\n\n c <end>\n<end>\r\n<end>";
        assert_eq!(documents(text, Some("<end>")), ["a\nb", "c <end>"]);
        assert_eq!(documents(text, None), [text]);
    }
}
