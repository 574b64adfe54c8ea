//! The path by which a kernelspec starts this program: one that still works after an upgrade.
//!
//! Package managers put a program into a folder of its version and a link to it on PATH, and replace both; the operating system
//! tells a process only the former. So the link is what a kernelspec must name.

use std::env;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

use super::KernelspecError;
use super::error::failed;

const PROGRAM: &str = "perilune";

/// How a kernelspec starts this program.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its absolute path.
    pub path: PathBuf,
    /// Why that path may not last.
    pub doubt: Option<Doubt>,
}

/// Why a path may not last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It lies where files are temporary.
    Temporary(PathBuf),
    /// It lies in a folder marked as a cache, such as cargo's `target`.
    Cache(PathBuf),
    /// A folder carries this version's number.
    Versioned(PathBuf),
}

impl Display for Doubt {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Temporary(folder) => write!(formatter, "`{}` is for temporary files", folder.display()),
            Doubt::Cache(folder) => write!(formatter, "`{}` is a cache, which may be emptied", folder.display()),
            Doubt::Versioned(folder) => write!(formatter, "`{}` belongs to this version alone", folder.display()),
        }
    }
}

impl Command {
    /// The program that runs: as PATH names it, else as it was called, else where it lies.
    pub fn of_this_program() -> Result<Command, KernelspecError> {
        let own = env::current_exe().map_err(|source| failed("find", Path::new(PROGRAM), source))?;
        let called = env::args_os().next().unwrap_or_default();
        let path = lasting(&own, &called, &env::var_os("PATH").unwrap_or_default())
            .map_err(|source| failed("find", &own, source))?;
        let doubt = doubt(&path);
        Ok(Command { path, doubt })
    }
}

fn lasting(own: &Path, called: &OsStr, search_path: &OsStr) -> io::Result<PathBuf> {
    let file = own.canonicalize()?;
    let on_path =
        env::split_paths(search_path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(PROGRAM));
    let called = Some(Path::new(called)).filter(|called| called.components().count() > 1);
    let called = called.and_then(|called| std::path::absolute(called).ok());
    let names_it = |path: &PathBuf| path.canonicalize().is_ok_and(|target| target == file);
    Ok(on_path.chain(called).find(names_it).unwrap_or_else(|| own.to_owned()))
}

fn doubt(path: &Path) -> Option<Doubt> {
    let folders = || path.ancestors().skip(1);
    let temporary = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let versioned = |folder: &&Path| folder.file_name().is_some_and(|name| names_version(&name.to_string_lossy()));
    // https://bford.info/cachedir/: cargo and uv mark theirs.
    let cache = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    None.or_else(|| folders().find(cache).map(|folder| Doubt::Cache(folder.to_owned())))
        .or_else(|| temporary.into_iter().find(|folder| path.starts_with(folder)).map(Doubt::Temporary))
        .or_else(|| folders().find(versioned).map(|folder| Doubt::Versioned(folder.to_owned())))
}

fn names_version(name: &str) -> bool {
    let version = env!("CARGO_PKG_VERSION");
    let part_of_number = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_digit());
    name.match_indices(version).any(|(at, _)| {
        !part_of_number(name[..at].chars().next_back()) && !part_of_number(name[at + version.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// `versions/perilune-VERSION/perilune`, and a link to it in `bin`.
    fn packaged() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let version = root.path().join(concat!("versions/perilune-", env!("CARGO_PKG_VERSION")));
        let (own, link) = (version.join(PROGRAM), root.path().join("bin").join(PROGRAM));
        fs::create_dir_all(&version).unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        fs::write(&own, "").unwrap();
        symlink(&own, &link).unwrap();
        (root, own, link)
    }

    #[test]
    fn a_link_outlives_the_version_it_points_to() {
        let (root, own, link) = packaged();
        let on_path = env::join_paths(["relative", "/nowhere", root.path().join("bin").to_str().unwrap()]).unwrap();
        assert_eq!(lasting(&own, OsStr::new("perilune"), &on_path).unwrap(), link);
        assert_eq!(lasting(&own, own.as_os_str(), &on_path).unwrap(), link);
        assert_eq!(lasting(&own, link.as_os_str(), OsStr::new("")).unwrap(), link);
        assert_eq!(lasting(&own, OsStr::new("perilune"), OsStr::new("")).unwrap(), own);
    }

    #[test]
    fn another_program_of_that_name_is_not_taken() {
        let (root, own, _) = packaged();
        let other = root.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(PROGRAM), "").unwrap();
        assert_eq!(lasting(&own, other.join(PROGRAM).as_os_str(), other.as_os_str()).unwrap(), own);
    }

    #[test]
    fn paths_that_do_not_last_are_doubted() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("release").join(PROGRAM);
        assert_eq!(doubt(&program), Some(Doubt::Temporary(env::temp_dir())));
        fs::write(root.path().join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
        assert_eq!(doubt(&program), Some(Doubt::Cache(root.path().to_owned())));
        let version = concat!("/opt/Cellar/perilune/", env!("CARGO_PKG_VERSION"));
        assert_eq!(doubt(&Path::new(version).join("bin/perilune")), Some(Doubt::Versioned(version.into())));
        assert_eq!(doubt(Path::new("/usr/local/bin/perilune")), None);
        assert!(!names_version(concat!("1", env!("CARGO_PKG_VERSION"))));
    }
}
