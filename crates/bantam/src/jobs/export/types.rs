//! Which type each matrix of a GGUF file has.

use std::collections::BTreeMap;

use bantam_compress::select::matcher;
use bantam_formats::gguf::{GgmlType, Matrix};
use serde::Serialize;

use crate::Error;

/// Types that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GgufTypes {
    /// The type of matrices; `None`: each keeps its own.
    pub all: Option<String>,
    /// `GLOB=TYPE` for some of them, by their names in the file, with or without `.weight`. The first that matches counts.
    pub some: Vec<String>,
}

/// A matrix whose rows are no whole blocks of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// Its name in the file.
    pub tensor: String,
    /// Elements of a row.
    pub row: usize,
    /// The type that was asked for.
    pub wanted: &'static str,
    /// The type that it has.
    pub used: &'static str,
}

/// The types of all matrices.
pub(super) struct Types {
    chosen: BTreeMap<String, &'static GgmlType>,
    /// What could not be as it was asked for.
    pub(super) replaced: Vec<Replaced>,
}

impl Types {
    /// Types for these matrices.
    ///
    /// # Errors
    /// When a type is not known, or a pattern is malformed or matches nothing.
    pub(super) fn choose(types: &GgufTypes, matrices: &[Matrix]) -> Result<Types, Error> {
        let all = types.all.as_deref().map(type_by_name).transpose()?;
        let mut wanted: BTreeMap<&str, &'static GgmlType> = BTreeMap::new();
        for text in types.some.iter().rev() {
            let (glob, kind) = text.split_once('=').ok_or_else(|| unreadable(text))?;
            let (glob, kind) = (matcher(glob)?, type_by_name(kind)?);
            let meant = |name: &str| glob.is_match(name) || glob.is_match(name.trim_end_matches(".weight"));
            let names = matrices.iter().map(|matrix| matrix.name.as_str());
            let meant: Vec<&str> = names.filter(|name| meant(name)).collect();
            if meant.is_empty() {
                return Err(unmatched(text));
            }
            wanted.extend(meant.into_iter().map(|name| (name, kind)));
        }
        let (mut chosen, mut replaced) = (BTreeMap::new(), Vec::new());
        for Matrix { name, row, own } in matrices {
            let (kind, row) = (wanted.get(name.as_str()).copied().or(all).unwrap_or(own), *row);
            let used = kind.for_rows(row);
            chosen.insert(name.clone(), used);
            if used != kind {
                replaced.push(Replaced {
                    tensor: name.clone(),
                    row,
                    wanted: kind.name,
                    used: used.name,
                });
            }
        }
        Ok(Types { chosen, replaced })
    }

    /// The type of the matrix with this name.
    pub(super) fn of(&self, name: &str) -> &'static GgmlType {
        self.chosen[name]
    }
}

fn type_by_name(name: &str) -> Result<&'static GgmlType, Error> {
    let found = GgmlType::encodable().find(|kind| kind.name == name);
    found.ok_or_else(|| Error::unknown_name("GGUF type", name, GgmlType::encodable().map(|kind| kind.name)))
}

fn unreadable(text: &str) -> Error {
    Error::Usage {
        message: format!("`{text}` gives no type"),
        hint: "write GLOB=TYPE, as in 'output=q6_k' or 'blk.*.ffn_down=q5_k'".to_owned(),
    }
}

fn unmatched(text: &str) -> Error {
    Error::Usage {
        message: format!("`{text}` matches no matrix"),
        hint: "matrices are named as in GGUF files: token_embd, output, blk.0.attn_q, blk.0.ffn_down ..."
            .to_owned(),
    }
}
