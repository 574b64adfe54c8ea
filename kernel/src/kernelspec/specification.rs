//! `kernel.json`: what we write, and what we need to know about those that are there.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::failed;
use super::{KernelspecError, SPECIFICATION};

/// What the Python package brings; its command is found from the kernelspec's own place.
const PACKAGED: &str = include_str!("../../kernelspec/data/share/jupyter/kernels/perilune/kernel.json");

/// Under `metadata`, what we say about a kernelspec of ours, and who installed it.
const OURS: &str = "perilune";
const INSTALLED_BY: &str = "installed_by";
const BY_INSTALL: &str = "perilune kernel install";

/// The content of a `kernel.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Specification {
    pub argv: Vec<String>,
    pub display_name: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
    metadata: Map<String, Value>,
}

impl Specification {
    /// Ours, with the program at `path`.
    pub fn starting(path: &Path, display_name: Option<&str>) -> Result<Specification, KernelspecError> {
        let mut specification: Specification =
            serde_json::from_str(PACKAGED).expect("a file of this repository, which a test reads");
        let path = path.to_str().ok_or_else(|| KernelspecError::NotText { path: path.to_owned() })?;
        specification.argv[0] = path.to_owned();
        if let Some(name) = display_name {
            specification.display_name = name.to_owned();
        }
        specification.metadata.insert(OURS.to_owned(), json!({ INSTALLED_BY: BY_INSTALL }));
        Ok(specification)
    }

    /// What lies in a kernelspec's directory, if anything does. What is no `kernel.json` counts as one that says nothing.
    pub fn read(directory: &Path) -> Result<Option<Specification>, KernelspecError> {
        let file = directory.join(SPECIFICATION);
        match fs::read(&file) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_default())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &file, source)),
        }
    }

    /// Who installed this kernelspec of our kernel; `None` where it is another kernel's.
    pub fn installed_by(&self) -> Option<&str> {
        self.metadata.get(OURS)?.get(INSTALLED_BY)?.as_str()
    }

    /// An error, unless `install` wrote it.
    pub fn expect_ours(&self, directory: &Path) -> Result<(), KernelspecError> {
        let path = directory.to_owned();
        match self.installed_by() {
            Some(BY_INSTALL) => Ok(()),
            Some(package) => Err(KernelspecError::Packaged { path, package: package.to_owned() }),
            None if self.display_name.is_empty() => {
                Err(KernelspecError::Foreign { path, kernel: "whose `kernel.json` cannot be read".to_owned() })
            }
            None => Err(KernelspecError::Foreign { path, kernel: format!("`{}`", self.display_name) }),
        }
    }

    pub fn to_json(&self) -> String {
        format!("{:#}\n", json!(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_specification_is_this_kernels() {
        let packaged: Specification = serde_json::from_str(PACKAGED).unwrap();
        assert_eq!(packaged.rest["kernel_protocol_version"], perilune_protocol::PROTOCOL_VERSION);
        assert!(packaged.expect_ours(Path::new("x")).is_err());
        let installed = Specification::starting(Path::new("/bin/perilune"), Some("Moon")).unwrap();
        assert!(installed.expect_ours(Path::new("x")).is_ok());
        assert_eq!((installed.argv[0].as_str(), installed.display_name.as_str()), ("/bin/perilune", "Moon"));
        assert_eq!(installed.argv[1..], packaged.argv[1..]);
    }
}
