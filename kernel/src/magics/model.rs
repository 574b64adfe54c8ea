//! `%model`: the model of the notebook's requests that name none.

use perilune_bridge::Failure;
use perilune_providers::ModelList;

use super::parse::{Word, words};
use super::{Place, failed, wrong};

pub(super) async fn run(place: &Place<'_>, given: &str) -> Result<(), Failure> {
    let (registry, chosen) = (&place.context.registry, &place.context.remembered.model);
    match &words(given)?[..] {
        [] => {
            let (model, why) = match chosen.get() {
                Some(model) => (model, "chosen in this notebook"),
                None => (registry.default_models().clone(), "the default"),
            };
            let others = available(place).await;
            let plain = format!("{model} ({why})\navailable: {}", others.join(", "));
            let others: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
            place.show(plain, format!("`{model}` ({why})\n\navailable: {}", others.join(", "))).await;
            Ok(())
        }
        [Word::Plain(name)] => {
            let models: ModelList =
                name.parse().map_err(|error: perilune_providers::SpecifierError| failed(&error.into()))?;
            let mut found = Vec::new();
            for model in models.iter() {
                found.push(place.wait(registry.check(model)).await?.specifier);
            }
            let model = ModelList::new(found).unwrap_or(models);
            chosen.set(model.clone());
            place.show(format!("this notebook now asks {model}"), format!("this notebook now asks `{model}`")).await;
            Ok(())
        }
        _ => Err(wrong(format!("`%model {given}` is not understood; write `%model` or `%model NAME`"))),
    }
}

async fn available(place: &Place<'_>) -> Vec<String> {
    place.context.registry.specifiers().await.iter().map(ToString::to_string).collect()
}

impl Place<'_> {
    /// Waits for a provider, unless the cell is interrupted.
    async fn wait<T>(&self, answer: impl Future<Output = Result<T, perilune_providers::Error>>) -> Result<T, Failure> {
        tokio::select! {
            answer = answer => answer.map_err(|error| failed(&error)),
            () = self.cancel.cancelled() => Err(super::interrupted()),
        }
    }
}
