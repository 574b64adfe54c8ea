//! Models in Ollama's folder, read in place: `manifests/HOST/NAMESPACE/NAME/TAG` is a JSON file that names the blob
//! `blobs/sha256-DIGEST` which holds the GGUF file. The layout: `types/model/name.go` and `manifest/` of
//! <https://github.com/ollama/ollama>.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::{File, entries, read_small};
use crate::provider::Collection;

/// Where names without host and namespace come from.
const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const MODEL: &str = "application/vnd.ollama.image.model";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(default)]
    digest: String,
}

/// The model of every manifest whose blob is there.
pub(super) fn files(models: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for host in entries(&models.join("manifests"))? {
        for namespace in entries(&host).unwrap_or_default() {
            for name in entries(&namespace).unwrap_or_default() {
                for tag in entries(&name).unwrap_or_default() {
                    files.extend(of_manifest(models, &tag));
                }
            }
        }
    }
    Ok(files)
}

fn of_manifest(models: &Path, path: &Path) -> Option<File> {
    let manifest: Manifest = serde_json::from_str(&read_small(path)?).ok()?;
    let digest = manifest.layers.iter().find(|layer| layer.media_type == MODEL)?.digest.strip_prefix("sha256:")?;
    // It becomes part of a path.
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut file = File::at(models.join(format!("blobs/sha256-{digest}")), Collection::Ollama)?;
    let mut parts = path.iter().rev().map(|part| part.to_str());
    let (tag, name, namespace, host) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    let short = format!("{name}:{tag}");
    file.names = match (host, namespace) {
        (HOST, NAMESPACE) => vec![short],
        (HOST, _) => vec![format!("{namespace}--{short}")],
        _ => vec![short.clone(), format!("{namespace}--{short}"), format!("{host}--{namespace}--{short}")],
    };
    Some(file)
}
