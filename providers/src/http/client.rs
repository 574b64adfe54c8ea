//! Clients: time limits, proxies and certificates. What curl reads from the environment is read here as curl reads it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, Url};

/// Longer than any server on the way needs to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What one instance's client does otherwise than others.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientOptions {
    /// The certificates that sign servers' are in this file, in PEM, instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The longest time without a byte, before and within an answer; `None`: no limit.
    pub(crate) idle_limit: Option<Duration>,
    /// Whether only addresses that begin with `http:` are asked, so that the system's certificates, which take milliseconds, are not read.
    pub(crate) plain: bool,
}

/// A client. It follows no redirect: with an answer's address its request, key and prompt would go somewhere that nobody configured.
/// What cannot be made is told for people, with the file or the variable that it is about.
pub(crate) fn client(options: &ClientOptions) -> Result<Client, String> {
    built(client_builder(options)?)
}

/// What a builder makes.
pub(crate) fn built(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| format!("no HTTP client can be made: {}", super::server::causes(&error)))
}

/// A client as [`client`] makes it, to which more can be said.
pub(crate) fn client_builder(options: &ClientOptions) -> Result<ClientBuilder, String> {
    // A second installation is refused, and not needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("perilune/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .redirect(Policy::none())
        .no_proxy();
    if let Some(limit) = options.idle_limit {
        builder = builder.read_timeout(limit);
    }
    let mut encrypted_proxy = false;
    for (names, scheme) in PROXIES {
        let Some((name, address)) = names.iter().find_map(|name| Some((name, variable(name)?))) else {
            continue;
        };
        encrypted_proxy |= address.starts_with("https:");
        // The error may repeat the address, which may hold a password.
        let proxy = scheme(&address).map_err(|_| format!("`{name}` is no address of a proxy"))?;
        let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(variable);
        builder = builder.proxy(proxy.no_proxy(exceptions.and_then(|list| NoProxy::from_string(&list))));
    }
    builder = match certificates(options)? {
        Some(certificates) => builder.tls_certs_only(certificates),
        None if options.plain && !encrypted_proxy => builder.tls_certs_only([]),
        None => builder,
    };
    Ok(builder)
}

/// The hosts of the proxies that the environment names.
pub(crate) fn proxy_hosts() -> Vec<String> {
    let named = PROXIES.iter().filter_map(|(names, _)| names.iter().find_map(|name| variable(name)));
    // A proxy may be written without its scheme.
    let host = |address: String| {
        let url =
            Url::parse(&address).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{address}")).ok());
        url?.host_str().map(str::to_owned)
    };
    named.filter_map(host).collect()
}

type MakeProxy = fn(&str) -> reqwest::Result<Proxy>;

/// Where proxies are named. As curl does, `HTTP_PROXY` is left alone: a CGI server sets it to what a stranger sent as the header `Proxy`.
const PROXIES: [(&[&str], MakeProxy); 3] = [
    (&["http_proxy"], |address| Proxy::http(address)),
    (&["https_proxy", "HTTPS_PROXY"], |address| Proxy::https(address)),
    (&["all_proxy", "ALL_PROXY"], |address| Proxy::all(address)),
];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The certificates of the configured file, or of `CURL_CA_BUNDLE`; `SSL_CERT_FILE` and `SSL_CERT_DIR` are read where the system's are.
fn certificates(options: &ClientOptions) -> Result<Option<Vec<Certificate>>, String> {
    let (name, path) = match (&options.ca_file, variable("CURL_CA_BUNDLE")) {
        (Some(path), _) => ("ca_file", path.clone()),
        (None, Some(path)) => ("CURL_CA_BUNDLE", PathBuf::from(path)),
        (None, None) => return Ok(None),
    };
    let place = || format!("`{name}`, the file `{}`", path.display());
    let text = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", place()))?;
    let certificates = Certificate::from_pem_bundle(&text).unwrap_or_default();
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate in PEM, which begins `-----BEGIN CERTIFICATE-----`", place()));
    }
    Ok(Some(certificates))
}
