//! What is installed where: every kernelspec of this kernel that Jupyter would find from here, and whether it still starts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::environment::on_path;
use super::specification::Specification;
use super::{data_directory_of, user_data_directory};

/// Where Jupyter looks for everybody's kernels (`jupyter_core.paths.SYSTEM_JUPYTER_PATH`).
const SYSTEM: [&str; 2] = ["/usr/local/share/jupyter", "/usr/share/jupyter"];

/// A kernelspec of this kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    /// What `--kernel` and `--name` call it.
    pub name: String,
    /// What frontends show.
    pub display_name: String,
    /// Where it lies.
    pub directory: PathBuf,
    /// The program it starts.
    pub command: PathBuf,
    /// Who installed it.
    pub installed_by: String,
    /// There is such a program.
    pub starts: bool,
}

/// The kernelspecs of this kernel in `JUPYTER_PATH`, the user's data directory, that of `environment` and the system's, in this
/// order. Those that cannot be read are left out.
pub fn installed(environment: Option<&Path>) -> Vec<Installed> {
    let mut places: Vec<PathBuf> = env::var_os("JUPYTER_PATH").iter().flat_map(env::split_paths).collect();
    places.extend(user_data_directory());
    places.extend(environment.and_then(|prefix| data_directory_of(prefix).ok()));
    places.extend(SYSTEM.map(PathBuf::from));
    let mut found: Vec<Installed> = Vec::new();
    for directory in places.iter().flat_map(|place| kernelspecs_in(place)) {
        let known = found.iter().any(|known| known.directory == directory);
        found.extend(describe(&directory).filter(|_| !known));
    }
    found
}

fn kernelspecs_in(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.join("kernels")).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    directories.sort();
    directories
}

fn describe(directory: &Path) -> Option<Installed> {
    let specification = Specification::read(directory).ok()??;
    let program = specification.argv.first()?.replace("{resource_dir}", directory.to_str()?);
    let command =
        if program.contains('/') { PathBuf::from(&program) } else { on_path(&program).unwrap_or(program.into()) };
    let installed_by = specification.installed_by()?.to_owned();
    Some(Installed {
        name: directory.file_name()?.to_string_lossy().to_lowercase(),
        starts: command.is_file(),
        display_name: specification.display_name,
        directory: directory.to_owned(),
        command,
        installed_by,
    })
}
