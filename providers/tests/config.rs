//! The configuration through its public door: what the layers decide, and what its errors say.

#![expect(clippy::unwrap_used, reason = "helpers of a test, where a panic is the message")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perilune_providers::{CandleConfig, Config, ConfigSources, Directories, KernelAddress, Overrides, ProviderOptions};

fn config(text: &str) -> Config {
    Config::from_toml(text, "c.toml").unwrap()
}

fn error(text: &str) -> String {
    Config::from_toml(text, "c.toml").unwrap_err().to_string()
}

fn candle<'a>(config: &'a Config, name: &str) -> &'a CandleConfig {
    match &config.providers[name].options {
        ProviderOptions::Candle(candle) => candle,
        other => panic!("`{name}` is {other:?}"),
    }
}

/// A user's home, with a repository in it that has a folder `deep/er`.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        let home = Home { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(home.path("project/.git")).unwrap();
        fs::create_dir_all(home.path("project/deep/er")).unwrap();
        fs::create_dir_all(home.path(".config/perilune")).unwrap();
        home
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn write(&self, inside: &str, text: &str) -> &Home {
        fs::write(self.path(inside), text).unwrap();
        self
    }

    fn user(&self, text: &str) -> &Home {
        self.write(".config/perilune/config.toml", text)
    }

    fn project(&self, text: &str) -> &Home {
        self.write("project/perilune.toml", text)
    }

    fn sources(&self, working_directory: &str) -> ConfigSources {
        ConfigSources {
            directories: Directories {
                config: Some(self.path(".config/perilune")),
                data: Some(self.path(".local/share/perilune")),
                state: Some(self.path(".local/state/perilune")),
                home: Some(self.path("")),
            },
            working_directory: Some(self.path(working_directory)),
            ..ConfigSources::default()
        }
    }

    fn load(&self) -> Config {
        Config::load(&self.sources("project/deep/er")).unwrap()
    }
}

fn model(config: &Config) -> Option<String> {
    config.default_model.as_ref().map(ToString::to_string)
}

#[test]
fn without_any_file_there_is_one_instance() {
    let config = Home::new().load();
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["candle"]);
    assert!(config.providers["candle"].enabled);
    assert_eq!(model(&config), None);
    assert!(config.files.is_empty() && config.warnings.is_empty());
}

#[test]
fn every_key_is_read() {
    let config = config(
        r#"
        default_model = "local/tiny@box"
        default_backend = "box"

        [providers.box]
        type = "candle"
        enabled = true
        default_model = "tiny:Q8"
        timeout_seconds = 1.5
        model_directory = "models"
        device = "cpu"
        cpu_threads = 2
        context_size = 512
        max_concurrent = 3
        memory_budget_mib = 4096
        keep_alive_seconds = 0

        [providers.candle]
        enabled = false
        "#,
    );
    assert_eq!(model(&config).unwrap(), "local/tiny@box");
    assert_eq!(config.default_backend.as_deref(), Some("box"));
    let provider = &config.providers["box"];
    assert_eq!(provider.default_model.as_deref(), Some("tiny:Q8"));
    assert_eq!(provider.timeout, Some(Duration::from_millis(1500)));
    let options = candle(&config, "box");
    assert_eq!(options.model_directory.as_deref(), Some(Path::new("models")));
    assert_eq!((options.cpu_threads, options.context_size, options.max_concurrent), (Some(2), Some(512), 3));
    assert_eq!((options.memory_budget_mib, options.keep_alive_seconds), (Some(4096), Some(0)));
    assert!(!config.providers["candle"].enabled);
}

#[test]
fn later_layers_replace_earlier_ones_key_by_key() {
    let home = Home::new();
    home.user("default_model = \"user\"\n[providers.candle]\ncpu_threads = 1\ncontext_size = 100\n")
        .project("default_model = \"project\"\n[providers.candle]\ncontext_size = 200\n");
    let config = home.load();
    assert_eq!(model(&config).unwrap(), "project");
    assert_eq!(candle(&config, "candle").cpu_threads, Some(1));
    assert_eq!(candle(&config, "candle").context_size, Some(200));
    assert_eq!(config.files, [home.path(".config/perilune/config.toml"), home.path("project/perilune.toml")]);

    let mut sources = home.sources("project");
    sources.environment.model = Some("environment".to_owned());
    assert_eq!(model(&Config::load(&sources).unwrap()).unwrap(), "environment");
}

#[test]
fn models_lie_in_the_data_folder_unless_the_user_says_otherwise() {
    let home = Home::new();
    let models = |config: &Config| candle(config, "candle").model_directory.clone().unwrap();
    assert_eq!(models(&home.load()), home.path(".local/share/perilune/models"));
    home.user("[providers.candle]\nmodel_directory = \"~/gguf\"");
    assert_eq!(models(&home.load()), home.path("gguf"));
    home.user("[providers.candle]\nmodel_directory = \"gguf\"");
    assert_eq!(models(&home.load()), home.path(".config/perilune/gguf"));
}

#[test]
fn the_search_for_a_project_ends_at_its_repository_and_at_the_home() {
    let home = Home::new();
    home.write("perilune.toml", "default_model = \"home\"");
    assert_eq!(model(&home.load()), None, "the repository ends the search");
    fs::remove_dir(home.path("project/.git")).unwrap();
    assert_eq!(model(&home.load()).unwrap(), "home");

    // Outside both, a file that somebody left in a folder above is not ours.
    let mut sources = home.sources("project/deep");
    sources.directories.home = None;
    assert_eq!(model(&Config::load(&sources).unwrap()), None);
    home.write("project/deep/perilune.toml", "default_model = \"here\"");
    assert_eq!(model(&Config::load(&sources).unwrap()).unwrap(), "here");
}

#[test]
fn only_the_user_says_how_files_are_fetched() {
    let home = Home::new();
    home.user("trusted_folders = [\"~/project\"]\n[downloads]\nconnections = 2\n");
    home.project("[downloads]\nallow_loopback = true\n");
    let config = home.load();
    assert_eq!((config.downloads.connections, config.downloads.allow_loopback), (2, false));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_project_chooses_limits_but_no_folders_until_it_is_trusted() {
    let home = Home::new();
    home.project("trusted_folders = [\"/\"]\n[providers.candle]\nmodel_directory = \"/etc\"\nmax_concurrent = 2\n");
    let config = home.load();
    assert_eq!(candle(&config, "candle").max_concurrent, 2);
    assert_eq!(candle(&config, "candle").model_directory.as_deref(), Some(&*home.path(".local/share/perilune/models")));
    let file = home.path("project/perilune.toml");
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            format!(
                "`{}` line 1: `trusted_folders` in the top level was ignored: a project's file chooses models and \
                 limits, not endpoints, keys or folders",
                file.display()
            ),
            format!(
                "`{}` line 3: `model_directory` in [providers.candle] was ignored: a project's file chooses models \
                 and limits, not endpoints, keys or folders; to trust this folder, add `{}` to `trusted_folders` in \
                 `{}`",
                file.display(),
                home.path("project").display(),
                home.path(".config/perilune/config.toml").display()
            ),
        ]
    );

    home.user("trusted_folders = [\"~/project\"]");
    let config = home.load();
    assert_eq!(candle(&config, "candle").model_directory.as_deref(), Some(Path::new("/etc")));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn another_kernel_is_reached_by_its_connection_file() {
    let home = Home::new();
    let address = |config: &Config, name: &str| match &config.providers[name].options {
        ProviderOptions::Kernel(kernel) => kernel.connection_file.clone(),
        other => panic!("`{name}` is {other:?}"),
    };
    home.user(
        "[providers.gpu-box]\ntype = \"kernel\"\nconnection_file = \"~/box.json\"\n\
         [providers.here]\ntype = \"kernel\"\nconnection_file = \"resident\"\n",
    );
    let config = home.load();
    assert_eq!(address(&config, "gpu-box"), Some(KernelAddress::File(home.path("box.json"))));
    assert_eq!(address(&config, "here"), Some(KernelAddress::Resident));

    // A project that is not trusted may neither add a kernel nor lead to another one.
    home.project(
        "[providers.gpu-box]\nconnection_file = \"mine.json\"\n\
         [providers.mine]\ntype = \"kernel\"\nconnection_file = \"mine.json\"\n",
    );
    let config = home.load();
    assert_eq!(address(&config, "gpu-box"), Some(KernelAddress::File(home.path("box.json"))));
    assert_eq!(address(&config, "mine"), None);
    let ignored: Vec<(&str, &str)> =
        config.warnings.iter().map(|warning| (warning.table.as_str(), warning.key.as_str())).collect();
    assert_eq!(ignored, [("[providers.gpu-box]", "connection_file"), ("[providers.mine]", "connection_file")]);

    home.user("trusted_folders = [\"~/project\"]\n[providers.gpu-box]\ntype = \"kernel\"");
    assert_eq!(address(&home.load(), "mine"), Some(KernelAddress::File(home.path("project/mine.json"))));
}

#[test]
fn an_ollama_is_where_it_is_said_to_be() {
    let of = |text: &str, variable: Option<&str>| {
        let home = Home::new();
        let sources =
            ConfigSources { ollama_host: variable.map(str::to_owned), ..home.user(text).sources("project/deep/er") };
        match &Config::load(&sources).unwrap().providers["ollama"].options {
            ProviderOptions::Ollama(ollama) => ollama.base_url.clone(),
            other => panic!("{other:?}"),
        }
    };
    let written = "[providers.ollama]\nbase_url = \"https://example.com/ollama\"";
    assert_eq!(of("[providers.ollama]", None), "http://127.0.0.1:11434");
    assert_eq!(of("[providers.ollama]", Some("gpu-box")), "http://gpu-box:11434");
    assert_eq!(of(written, Some("gpu-box")), "https://example.com/ollama");
    for wrong in ["127.0.0.1:11434", "ftp://h", "http://h?key=1", "http://u:p@h"] {
        let error = error(&format!("[providers.ollama]\nbase_url = \"{wrong}\""));
        assert!(error.starts_with("`c.toml` line 2: `base_url` in [providers.ollama] must be an address"), "{error}");
    }
}

#[test]
fn unknown_keys_name_the_file_the_line_and_the_nearest_key() {
    for (text, expected) in [
        (
            "\n[providers.candle]\ncontext_size = 9\nmodle_directory = \"m\"",
            "`c.toml` line 4: unknown key `modle_directory` in [providers.candle]; did you mean `model_directory`?",
        ),
        (
            "default_modle = \"m\"",
            "`c.toml` line 1: unknown key `default_modle` in the top level; did you mean `default_model`?",
        ),
        ("[provider.candle]", "`c.toml` line 1: unknown key `provider` in the top level; did you mean `providers`?"),
        (
            "xyzzy = 1",
            "`c.toml` line 1: unknown key `xyzzy` in the top level; known: `budget`, `default_backend`, \
             `default_model`, `downloads`, `prices`, `providers`, `routing`, `trusted_folders`",
        ),
        (
            "[providers.candle]\nenabled = false\nxyzzy = 1",
            "`c.toml` line 3: unknown key `xyzzy` in [providers.candle]; known: `context_size`, `cpu_threads`, \
             `default_model`, `device`, `enabled`, `keep_alive_seconds`, `kv_cache_mib`, `kv_cache_type`, `max_concurrent`, `memory_budget_mib`, \
             `model_directory`, `model_paths`, `shared_models`, `timeout_seconds`, `type`",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn wrong_values_say_what_works() {
    for (keys, expected) in [
        ("cpu_threads = 0", "`cpu_threads` in [providers.candle] must be an integer from 1 to 1024, not `0`"),
        ("cpu_threads = -3", "`cpu_threads` in [providers.candle] must be an integer from 1 to 1024, not `-3`"),
        ("cpu_threads = \"2\"", "`cpu_threads` in [providers.candle] must be an integer from 1 to 1024, not a string"),
        ("context_size = 1", "`context_size` in [providers.candle] must be an integer from 2 to 16777216, not `1`"),
        ("enabled = 1", "`enabled` in [providers.candle] must be `true` or `false`, not an integer"),
        (
            "timeout_seconds = 0",
            "`timeout_seconds` in [providers.candle] must be a number of seconds above 0 and up to a year, not `0`",
        ),
        (
            "timeout_seconds = nan",
            "`timeout_seconds` in [providers.candle] must be a number of seconds above 0 and up to a year, not `NaN`",
        ),
        ("model_directory = \"\"", "`model_directory` in [providers.candle] must be the path of a folder"),
        (
            "device = \"cuda\"",
            "`device` in [providers.candle] is `cuda`, which this build does not have; it runs on `cpu` only, which \
             is the default",
        ),
        (
            "kv_cache_type = \"q4_0\"",
            "`kv_cache_type` in [providers.candle] must be `f16`, which is the default, or `q8_0`, which takes about half the memory",
        ),
        ("device = \"cpux\"", "`device` in [providers.candle] must be `cpu`, which is the default"),
        (
            "base_url = \"http://h\"",
            "`base_url` in [providers.candle] does not apply to a `candle` provider, which runs models in this \
             process; leave it out",
        ),
        (
            "default_model = \"local/tiny\"",
            "`default_model` in [providers.candle] must be a model of this provider without provider or backend, \
             such as `tiny`",
        ),
        (
            "default_model = \"m@\"",
            "`default_model` in [providers.candle]: `m@` is not a model specifier: no backend follows the `@`; write \
             `[provider/]model[:variant][@backend]`, such as `local/moonlet@candle`",
        ),
    ] {
        assert_eq!(error(&format!("[providers.candle]\n{keys}")), format!("`c.toml` line 2: {expected}"));
    }
}

#[test]
fn wrong_tables_say_what_works() {
    for (text, expected) in [
        (
            "[providers.box]\ntype = \"candel\"",
            "`c.toml` line 2: unknown provider type `candel`; this build has: `candle`, `kernel`, `ollama`, `openai`; did you mean `candle`?",
        ),
        (
            "[providers.box]\nenabled = true",
            "`c.toml` line 2: [providers.box] has no `type`; this build has: `candle`, `kernel`, `ollama`, `openai`",
        ),
        (
            "[providers.kernel]\nconnection_file = \"\"",
            "`c.toml` line 2: `connection_file` in [providers.kernel] must be the path of a connection file",
        ),
        (
            "[providers.box]\ntype = \"kernel\"\ncpu_threads = 2",
            "`c.toml` line 3: `cpu_threads` in [providers.box] does not apply to a `kernel` provider, whose models run \
             in another kernel; write it into the configuration there",
        ),
        (
            "[providers.candle]\nconnection_file = \"a.json\"",
            "`c.toml` line 2: `connection_file` in [providers.candle] does not apply to a `candle` provider, which runs \
             models in this process; leave it out",
        ),
        (
            "[providers.local]\ntype = \"candle\"",
            "`c.toml` line 2: `local` cannot name a provider: `local` means any local instance",
        ),
        (
            "[providers.\"a/b\"]\ntype = \"candle\"",
            "`c.toml` line 2: `a/b` cannot name a provider: a name has no blanks, `/` or `@`",
        ),
        ("downloads = 3", "`c.toml` line 1: `downloads` in the top level must be a table, not an integer"),
        (
            "[downloads]\nconnections = 0",
            "`c.toml` line 2: `connections` in [downloads] must be an integer from 1 to 16, not `0`",
        ),
        ("providers = 3", "`c.toml` line 1: `providers` in the top level must be a table of tables, not an integer"),
        (
            "[providers]\ncandle = 3",
            "`c.toml` line 2: `candle` in [providers] must be a table, such as [providers.candle]",
        ),
        (
            "default_backend = \"candel\"",
            "`c.toml` line 1: `default_backend` is `candel`, which no enabled provider is called; configured: \
             `candle`; did you mean `candle`?",
        ),
        (
            "trusted_folders = \"/a\"",
            "`c.toml` line 1: `trusted_folders` in the top level must be a list of paths, such as \
             [\"~/projects/mine\"]",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn overrides_are_named_in_errors() {
    let sources = ConfigSources {
        environment: Overrides { model: Some("my model".to_owned()), backend: None },
        ..ConfigSources::default()
    };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("`PERILUNE_MODEL`: `default_model` in the top level: `my model` is not"), "{error}");
    let sources = ConfigSources {
        environment: Overrides { model: None, backend: Some("olama".to_owned()) },
        ..ConfigSources::default()
    };
    assert_eq!(
        Config::load(&sources).unwrap_err().to_string(),
        "`PERILUNE_BACKEND`: `default_backend` is `olama`, which no enabled provider is called; configured: `candle`"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let home = Home::new();
    fs::write(home.path(".config/perilune/config.toml"), [0xff, 0xfe]).unwrap();
    let sources = home.sources("project");
    let file = home.path(".config/perilune/config.toml");
    let error = || Config::load(&sources).unwrap_err().to_string();
    assert!(error().starts_with(&format!("cannot read `{}`: ", file.display())), "{}", error());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(error(), format!("cannot read `{}`: not a regular file", file.display()));
    fs::remove_dir(&file).unwrap();
    fs::write(&file, " ".repeat(1_100_000)).unwrap();
    assert_eq!(error(), format!("cannot read `{}`: larger than 1 MiB, which no configuration is", file.display()));
}

/// Somebody pastes a key where it does not belong: nothing repeats it.
#[test]
fn secrets_are_repeated_neither_by_errors_nor_by_debug() {
    const SECRET: &str = "sk-planted-0123456789";
    for text in [
        format!("[providers.candle]\napi_key = \"{SECRET}\""),
        format!("[providers.candle]\napi_key_env = \"{SECRET}\""),
        format!("[providers.candle]\nbase_url = \"https://u:{SECRET}@h\""),
        format!("[providers.candle]\ncpu_threads = \"{SECRET}\""),
        format!("[providers.candle]\ndevice = \"{SECRET}\""),
        format!("[providers.candle]\nenabled = \"{SECRET}\""),
        format!("[providers.ollama]\napi_key_env = \"{SECRET}\""),
        format!("[providers.ollama]\nbase_url = \"https://u:{SECRET}@h\""),
        format!("api_key = \"{SECRET}"),
        format!("api_key = {SECRET}"),
        format!("default_backend = [\"{SECRET}\"]"),
    ] {
        let error = Config::from_toml(&text, "c.toml").unwrap_err();
        assert!(!format!("{error} {error:?} {error:#?}").contains("planted"), "{error:?}");
        assert!(error.to_string().starts_with("`c.toml` line "), "{error}");
    }

    // Ignored in a project's file, and kept nowhere.
    let home = Home::new();
    home.project(&format!("[providers.candle]\napi_key_env = \"{SECRET}\"\nbase_url = \"https://{SECRET}@h\""));
    let config = home.load();
    assert_eq!(config.warnings.len(), 2);
    let said = format!("{config:?} {config:#?} {:?}", config.warnings.iter().map(ToString::to_string));
    assert!(!said.contains("planted"), "{said}");
}

#[test]
fn hostile_text_is_an_error_and_nothing_worse() {
    let nested = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [nested.as_str(), "\u{0}", "[[providers]]", "[providers]\n[providers]", "a = 99999999999999999999"] {
        let error = error(text);
        assert!(error.starts_with("`c.toml`"), "{error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn a_server_that_speaks_openais_dialect_is_told_by_preset_or_address() {
    let read =
        |text: &str| match &config(&format!("[providers.far]\ntype = \"openai\"\n{text}")).providers["far"].options {
            ProviderOptions::OpenAi(far) => far.clone(),
            other => panic!("`far` is {other:?}"),
        };
    let groq = read("preset = \"groq\"");
    assert_eq!(groq.base_url.as_deref(), Some("https://api.groq.com/openai/v1"));
    assert_eq!(groq.api_key_env.as_deref(), Some("GROQ_API_KEY"));
    let own = read("preset = \"vllm\"\nbase_url = \"http://box:9000/v1\"\napi_key = \"planted\"");
    assert_eq!(own.base_url.as_deref(), Some("http://box:9000/v1"));
    assert_eq!(own.api_key_env, None);
    assert!(!format!("{own:?}").contains("planted"));

    let wrong = |text: &str| error(&format!("[providers.far]\ntype = \"openai\"\n{text}"));
    let told = wrong("");
    assert!(
        told.starts_with("`c.toml` line 2: `base_url` in [providers.far] must be there where no `preset`"),
        "{told}"
    );
    assert!(told.contains("`llama-server`"), "{told}");
    for key in ["sk-planted\\n", "sk planted", ""] {
        let told = wrong(&format!("preset = \"openai\"\napi_key = \"{key}\""));
        assert!(told.starts_with("`c.toml` line 4: `api_key` in [providers.far] must be a key"), "{told}");
        assert!(!told.contains("planted"), "{told}");
    }
    assert!(wrong("preset = \"grok\"").ends_with("did you mean `groq`?"));
    for address in ["box:9000", "ftp://box", "http://me:planted@box/v1", "https://box/v1?key=planted"] {
        let told = wrong(&format!("base_url = \"{address}\""));
        assert!(told.contains("`base_url` in [providers.far] must be an address"), "{told}");
        assert!(!told.contains("planted"), "{told}");
    }
    let told = wrong("api_key_env = \"sk-planted\"");
    assert!(told.contains("must be the name of a variable") && !told.contains("planted"), "{told}");
}

#[test]
fn a_project_chooses_no_server() {
    let home = Home::new();
    home.project("[providers.far]\ntype = \"openai\"\npreset = \"openai\"\nbase_url = \"http://evil/v1\"\napi_key = \"x\"\nca_file = \"x\"\n");
    let config = home.load();
    assert_eq!(config.warnings.len(), 4);
    let ProviderOptions::OpenAi(far) = &config.providers["far"].options else { panic!("not openai") };
    assert_eq!((&far.base_url, &far.api_key, &far.ca_file), (&None, &None, &None));
}
