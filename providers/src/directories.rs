//! Where configuration, models and state lie: the XDG base directories, or all of it under `PERILUNE_HOME`.

use std::path::{Path, PathBuf};

/// The folders of one user. They need not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories {
    /// Holds `config.toml`.
    pub config: Option<PathBuf>,
    /// Holds `models/`, which is the user's, and `store/`, which is ours.
    pub data: Option<PathBuf>,
    /// Holds what is remembered between runs, such as `history.sqlite3`.
    pub state: Option<PathBuf>,
    /// The user's home: what `~/` means, and where the search for a project's file ends.
    pub home: Option<PathBuf>,
}

impl Directories {
    /// The folders this process's environment asks for: `PERILUNE_HOME`, else `perilune/` under
    /// `XDG_CONFIG_HOME` (`~/.config`), `XDG_DATA_HOME` (`~/.local/share`) and `XDG_STATE_HOME`
    /// (`~/.local/state`). As the XDG specification wants it, a relative path there counts as unset. Without `HOME`,
    /// which some Jupyter launchers do not pass on, the system's record of the user tells the home.
    pub fn from_environment() -> Directories {
        Directories::from_variables(|name| match name {
            "HOME" => std::env::home_dir(),
            name => std::env::var_os(name).map(PathBuf::from),
        })
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Directories {
        let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
        let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        if let Some(all) = set("PERILUNE_HOME") {
            let all = std::path::absolute(&all).unwrap_or(all);
            return Directories { config: Some(all.clone()), data: Some(all.clone()), state: Some(all), home };
        }
        let under = |name: &str, fallback: &str| {
            absolute(name).or_else(|| home.as_ref().map(|home| home.join(fallback))).map(|base| base.join("perilune"))
        };
        Directories {
            config: under("XDG_CONFIG_HOME", ".config"),
            data: under("XDG_DATA_HOME", ".local/share"),
            state: under("XDG_STATE_HOME", ".local/state"),
            home,
        }
    }

    /// The user's configuration file.
    pub fn config_file(&self) -> Option<PathBuf> {
        self.config.as_ref().map(|folder| folder.join("config.toml"))
    }

    /// Where models are looked for unless the configuration says otherwise.
    pub fn models(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|folder| folder.join("models"))
    }

    /// Where models lie that were pulled: a [`ModelStore`](crate::ModelStore)'s folder.
    pub fn store(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|folder| folder.join("store"))
    }

    /// The cells that every kernel of this user ran.
    pub fn history(&self) -> Option<PathBuf> {
        self.state.as_ref().map(|folder| folder.join("history.sqlite3"))
    }

    /// What the headers of model files tell, so that a list of models need not read them again.
    pub fn headers(&self) -> Option<PathBuf> {
        self.state.as_ref().map(|folder| folder.join("model-headers.json"))
    }

    /// What requests to models took, in all processes of this user.
    pub fn ledger(&self) -> Option<PathBuf> {
        self.state.as_ref().map(|folder| folder.join("ledger.sqlite3"))
    }

    /// `path` as written in a file of `folder`: `~/` is the home, and a relative path starts at
    /// `folder`.
    pub(crate) fn expand(&self, path: &str, folder: &Path) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => folder.join(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Directories {
        let variables = variables.to_vec();
        Directories::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn perilune_home_moves_all_of_it() {
        let directories = with(&[("HOME", "/home/a"), ("PERILUNE_HOME", "/srv/p"), ("XDG_CONFIG_HOME", "/x")]);
        assert_eq!(directories.config_file(), Some("/srv/p/config.toml".into()));
        assert_eq!(directories.models(), Some("/srv/p/models".into()));
        assert_eq!(directories.store(), Some("/srv/p/store".into()));
        assert_eq!(directories.history(), Some("/srv/p/history.sqlite3".into()));
    }

    #[test]
    fn xdg_directories_default_to_the_home() {
        let directories = with(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "relative")]);
        assert_eq!(directories.config_file(), Some("/home/a/.config/perilune/config.toml".into()));
        assert_eq!(directories.models(), Some("/home/a/.local/share/perilune/models".into()));
        assert_eq!(directories.history(), Some("/home/a/.local/state/perilune/history.sqlite3".into()));
        assert_eq!(directories.expand("~/m", Path::new("/etc")), PathBuf::from("/home/a/m"));
        assert_eq!(directories.expand("m", Path::new("/etc")), PathBuf::from("/etc/m"));
        assert_eq!(with(&[]), Directories::default());
    }
}
