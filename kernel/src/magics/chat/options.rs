//! What stands behind `%%chat` on its line: a model, and options as `key=value`.

use std::str::FromStr;

use perilune_bridge::Failure;
use perilune_providers::{GenerateOptions, ModelList};

use crate::magics::parse::{Word, words};
use crate::magics::{failed, nearest, wrong};

/// Every option's name.
pub(in crate::magics) const NAMES: [&str; 15] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "seed",
    "stop",
    "truncate",
    "system",
    "reset",
    "model",
];

/// What the line asks for.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) model: Option<ModelList>,
    /// The conversation's instructions from now on.
    pub(super) system: Option<String>,
    /// Whether a new conversation begins.
    pub(super) reset: bool,
    pub(super) generate: GenerateOptions,
}

impl Options {
    pub(super) fn read(line: &str) -> Result<Options, Failure> {
        let mut options = Options::default();
        for word in words(line)? {
            match word {
                Word::Plain(word) if word == "reset" => options.reset = true,
                Word::Plain(word) if options.model.is_none() => options.model = Some(models(&word)?),
                Word::Plain(word) => {
                    return Err(wrong(format!(
                        "`{word}` comes after the model's name on the line of `%%chat`; options are written `key=value`, \
                         and the prompt stands below"
                    )));
                }
                Word::Pair(name, value) => options.set(&name, &value)?,
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let generate = &mut self.generate;
        match name {
            "model" => self.model = Some(models(value)?),
            "system" => self.system = Some(value.to_owned()),
            "reset" => self.reset = read(name, value, "true or false")?,
            "temperature" => generate.sampling.temperature = Some(number(name, value)?),
            "top_k" => generate.sampling.top_k = Some(read(name, value, "a whole number from 0 on")?),
            "top_p" => generate.sampling.top_p = Some(number(name, value)?),
            "min_p" => generate.sampling.min_p = Some(number(name, value)?),
            "typical_p" => generate.sampling.typical_p = Some(number(name, value)?),
            "frequency_penalty" => generate.sampling.frequency_penalty = Some(number(name, value)?),
            "presence_penalty" => generate.sampling.presence_penalty = Some(number(name, value)?),
            "repeat_penalty" => generate.sampling.repeat_penalty = Some(number(name, value)?),
            "seed" => generate.sampling.seed = Some(read(name, value, "a whole number from 0 on")?),
            "max_tokens" => match read::<u32>(name, value, "a whole number from 1 on")? {
                0 => {
                    return Err(wrong(
                        "option `max_tokens` of `%%chat` is `0`; expected a whole number from 1 on".to_owned(),
                    ));
                }
                count => generate.max_tokens = Some(count),
            },
            "stop" => generate.stop.push(value.to_owned()),
            "truncate" => generate.truncate = read(name, value, "true or false")?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

fn models(text: &str) -> Result<ModelList, Failure> {
    text.parse().map_err(|error: perilune_providers::SpecifierError| failed(&error.into()))
}

fn number(name: &str, value: &str) -> Result<f32, Failure> {
    match read::<f32>(name, value, "a number")? {
        finite if finite.is_finite() => Ok(finite),
        _ => Err(wrong(format!("option `{name}` of `%%chat` is `{value}`; expected a number"))),
    }
}

fn read<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| wrong(format!("option `{name}` of `%%chat` is `{value}`; expected {expected}")))
}

fn unknown(name: &str) -> Failure {
    let near = nearest(name, NAMES).map_or(";".to_owned(), |near| format!("; did you mean `{near}`?"));
    let known: Vec<String> = NAMES.iter().map(|name| format!("`{name}`")).collect();
    wrong(format!("unknown option `{name}` of `%%chat`{near} known: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_and_options_are_read() {
        let options =
            Options::read("local/moonlet@candle temperature=0.5 stop='\n' stop=x system=\"Be brief\" reset").unwrap();
        assert_eq!(options.model.unwrap().to_string(), "local/moonlet@candle");
        assert_eq!((options.system.as_deref(), options.reset), (Some("Be brief"), true));
        assert_eq!(options.generate.sampling.temperature, Some(0.5));
        assert_eq!(options.generate.stop, ["\n", "x"]);
    }

    #[test]
    fn a_slip_is_told_with_what_would_have_worked() {
        let told = |line: &str| Options::read(line).expect_err(line).message;
        assert!(told("temprature=1").contains("did you mean `temperature`?"));
        assert!(told("xyzzy=1").contains("known: `temperature`, `top_k`"));
        assert!(told("max_tokens=many").contains("is `many`; expected a whole number"));
        assert!(told("max_tokens=0").contains("from 1 on"));
        assert!(told("temperature=NaN").contains("expected a number"));
        assert!(told("moonlet What is the capital").contains("the prompt stands below"));
    }
}
