//! What the name at the cursor is: its documentation, a function's signature and source, a value.

use serde::{Deserialize, Serialize};

use crate::cell::Rich;
use crate::documentation::documentation;

/// How much to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// What it is.
    #[default]
    Brief,
    /// All there is to know, such as its source.
    Full,
}

pub(crate) fn inspect(code: &str, cursor: usize, _: Detail) -> Option<Rich> {
    documentation().find(code.get(..cursor)?).map(crate::Entry::page)
}
