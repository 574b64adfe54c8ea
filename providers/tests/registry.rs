//! The registry through its public door: which instance a specifier means, and what it says when
//! there is none.

#![expect(clippy::unwrap_used, reason = "helpers of a test, where a panic is the message")]

use std::sync::Arc;

use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use perilune_providers::{
    Config, Error, ErrorKind, EventStream, GenerateRequest, Health, HealthStatus, LocalProvider, ModelEntry,
    ModelSpecifier, Provider, ProviderType, Registry, Resolved,
};
use tokio_util::sync::CancellationToken;

fn registry(text: &str) -> Registry {
    Registry::new(&Config::from_toml(text, "c.toml").unwrap()).unwrap()
}

fn specifier(text: &str) -> ModelSpecifier {
    text.parse().unwrap()
}

async fn resolve(registry: &Registry, text: &str) -> Result<String, Error> {
    let resolved = registry.resolve(&specifier(text)).await?;
    assert_eq!(resolved.specifier.model(), resolved.model.rsplit('/').next().unwrap());
    Ok(resolved.specifier.to_string())
}

const TWO: &str = "[providers.box]\ntype = \"candle\"\n";

#[tokio::test]
async fn every_form_leads_to_the_whole_name() {
    let registry = registry(TWO);
    for text in ["moonlet", "local/moonlet", "local/moonlet@box", "moonlet@box", "box/moonlet"] {
        assert_eq!(resolve(&registry, text).await.unwrap(), "local/moonlet@box", "{text}");
    }
    assert_eq!(resolve(&registry, "moonlet@candle").await.unwrap(), "local/moonlet@candle");
    assert_eq!(resolve(&registry, "candle/sub/name:v").await.unwrap(), "local/sub/name:v@candle");
}

#[tokio::test]
async fn the_default_backend_comes_first_then_the_loaded_then_the_stored() {
    let chosen = registry(&format!("default_backend = \"candle\"\n{TWO}"));
    assert_eq!(resolve(&chosen, "moonlet").await.unwrap(), "local/moonlet@candle");

    let registry = registry(TWO);
    assert_eq!(resolve(&registry, "moonlet").await.unwrap(), "local/moonlet@box");
    registry.local("candle").unwrap().load("moonlet").await.unwrap();
    assert_eq!(resolve(&registry, "moonlet").await.unwrap(), "local/moonlet@candle");
    chosen.local("box").unwrap().load("moonlet").await.unwrap();
    assert_eq!(resolve(&chosen, "moonlet").await.unwrap(), "local/moonlet@candle");
}

#[test]
fn the_default_model_is_the_configured_one_or_the_bundled_one() {
    for (text, expected) in [
        ("", "local/moonlet@candle"),
        ("default_model = \"openrouter/deepseek/v3\"", "openrouter/deepseek/v3"),
        ("[providers.candle]\ndefault_model = \"tiny\"", "local/tiny@candle"),
        ("default_backend = \"box\"\n[providers.box]\ntype = \"candle\"", "local/moonlet@box"),
        ("[providers.box]\ntype = \"candle\"\n[providers.candle]\nenabled = false", "local/moonlet@box"),
    ] {
        assert_eq!(registry(text).default_model().to_string(), expected, "{text}");
    }
}

#[test]
fn at_least_one_instance_is_enabled() {
    let config = Config::from_toml("[providers.candle]\nenabled = false", "c.toml").unwrap();
    let error = Registry::new(&config).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(
        error.to_string(),
        "no provider is enabled; write `enabled = true` in one of the [providers.<name>] tables"
    );
}

#[tokio::test]
async fn unknown_names_are_met_with_the_known_ones() {
    let registry = registry(TWO);
    for (text, kind, expected) in [
        (
            "local/moonlet@candel",
            ErrorKind::ProviderNotFound,
            "unknown backend `candel`; configured: `box`, `candle`; did you mean `candle`?",
        ),
        ("openai/gpt", ErrorKind::ProviderNotFound, "unknown provider `openai`; configured: `box`, `candle`"),
        ("moonlte", ErrorKind::ModelNotFound, "no model `moonlte` on `box`, `candle`; did you mean `moonlet`?"),
        ("local/../secret", ErrorKind::ModelNotFound, "no model `../secret` on `box`, `candle`"),
        (
            "box/moonlet@candle",
            ErrorKind::InvalidRequest,
            "`box/moonlet@candle` names a provider and a backend; write `local/moonlet@candle` or leave `@candle` out",
        ),
    ] {
        let error = resolve(&registry, text).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), kind);
    }
    let error = registry.instance("bxo").err().unwrap();
    assert_eq!(error.to_string(), "unknown backend `bxo`; configured: `box`, `candle`; did you mean `box`?");
}

#[tokio::test]
async fn an_instance_that_fails_does_not_keep_the_others_from_working() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let registry = registry(&format!("{TWO}model_directory = \"{}\"\n", gone.display()));

    let listing = registry.list(None).await.unwrap();
    let names: Vec<&str> = listing.iter().map(|listed| listed.instance.as_str()).collect();
    assert_eq!(names, ["box", "candle"]);
    let error = listing[0].models.as_ref().unwrap_err();
    let expected = format!("cannot read model_directory `{}` of `box`: ", gone.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(listing[1].models.as_ref().unwrap()[0].name, "moonlet");

    let status = registry.status(None).await.unwrap();
    assert_eq!(status[0].health.status, HealthStatus::Degraded);
    assert!(status[0].health.detail.starts_with(&expected), "{}", status[0].health.detail);
    assert_eq!(status[1].health.status, HealthStatus::Ready);
    assert_eq!(registry.status(Some("candle")).await.unwrap().len(), 1);

    assert_eq!(resolve(&registry, "moonlet@candle").await.unwrap(), "local/moonlet@candle");
    let error = resolve(&registry, "tiny").await.unwrap_err();
    let expected = format!("no model `tiny` on `box`, `candle`; could not be asked: {expected}");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn other_kernels_come_from_the_crate_above() {
    let text = "default_backend = \"box\"\n[providers.box]\ntype = \"kernel\"\n[providers.off]\ntype = \"kernel\"\nenabled = false";
    let config = Config::from_toml(text, "c.toml").unwrap();
    let error = Registry::new(&config).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`box` is another kernel, which only a kernel can ask; leave it out or set `enabled = false`"
    );
    let names = |registry: &Registry| -> Vec<String> {
        registry.instances().iter().map(|instance| instance.name().to_owned()).collect()
    };
    let registry = Registry::with_kernels(&config, &|name, _, _| {
        assert_eq!(name, "box");
        Arc::new(Remote("box", ProviderType::Kernel))
    })
    .unwrap();
    assert_eq!(names(&registry), ["box", "candle"]);
    // A kernel that holds models in memory is a `local/` one; this one does not.
    assert_eq!(registry.default_model().to_string(), "box/moonlet");
    assert_eq!(names(&registry.without_kernels()), ["candle"]);
}

#[tokio::test]
async fn a_list_says_by_which_specifier_a_model_is_asked_for() {
    let listing = registry("").list(None).await.unwrap();
    assert_eq!(listing[0].specifier("moonlet").unwrap().to_string(), "local/moonlet@candle");
    assert_eq!(listing[0].specifier("m@far").unwrap().to_string(), "local/m@far@candle");
    assert!(listing[0].specifier("a b").is_none());
}

/// A provider that holds nothing in memory.
struct Remote(&'static str, ProviderType);

impl Provider for Remote {
    fn name(&self) -> &str {
        self.0
    }

    fn provider_type(&self) -> ProviderType {
        self.1
    }

    fn generate(&self, _: GenerateRequest, _: CancellationToken) -> EventStream {
        stream::empty().boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        future::ok(Vec::new()).boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        future::ready(Health { status: HealthStatus::Ready, detail: String::new() }).boxed()
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        None
    }
}

#[test]
fn what_only_a_local_instance_can_do_is_not_said_to_be_impossible() {
    let specifier = specifier("remote/gpt");
    let resolved = Resolved {
        provider: Arc::new(Remote("remote", ProviderType::Candle)),
        model: "gpt".to_owned(),
        specifier,
        why: String::new(),
    };
    let error = resolved.local().err().unwrap();
    assert_eq!(error.to_string(), "`remote` does not hold models in memory; `local/MODEL` means an instance that does");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}
