//! What a GGUF file's header tells at a glance, for lists of many models: also of those that do not run here.

use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::engine::{Source, open};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::proportions;

/// Facts about a model file, from its header alone. What the header does not say is empty, 0 or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `general.architecture` of the file.
    pub architecture: String,
    /// Weights in the file, counted one by one.
    pub parameters: u64,
    /// The tensor type that holds most weights, e.g. `Q8_0`.
    pub quantization: String,
    /// Tokens the model was trained on at a time.
    pub context_length: Option<u64>,
    /// Why it does not run here, as [`Engine::load`](crate::Engine::load) would say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Facts {
    /// Reads a header; of a file that does not hold together the problem is all there is to tell. Fails with
    /// [`Error::Open`] alone.
    pub fn read(source: &Source) -> Result<Facts, Error> {
        let told = open(source).and_then(|gguf| Facts::of(&gguf));
        match told {
            Err(error @ Error::Open { .. }) => Err(error),
            Err(error) => Ok(Facts { problem: Some(error.to_string()), ..Facts::default() }),
            Ok(facts) => Ok(facts),
        }
    }

    fn of(gguf: &Gguf) -> Result<Facts, Error> {
        let architecture = gguf.required_text("general.architecture")?;
        let context_length = gguf.u64(&format!("{architecture}.context_length"))?;
        let (parameters, quantization) = weights(gguf);
        let runs = Description::from_gguf(gguf).and_then(|description| proportions::check(gguf, &description));
        let problem = runs.err().map(|error| error.to_string());
        Ok(Facts { architecture, parameters, quantization, context_length, problem })
    }
}

/// How many weights a file has, and the tensor type that holds most of them.
pub(crate) fn weights(gguf: &Gguf) -> (u64, String) {
    let mut by_type: Vec<(u64, &str)> = Vec::new();
    for tensor in gguf.tensors() {
        match by_type.iter_mut().find(|(_, name)| *name == tensor.kind.name()) {
            Some((elements, _)) => *elements += tensor.elements,
            None => by_type.push((tensor.elements, tensor.kind.name())),
        }
    }
    by_type.sort_unstable();
    let most = by_type.last().map_or_else(String::new, |(_, name)| (*name).to_owned());
    (by_type.iter().map(|(elements, _)| elements).sum(), most)
}
