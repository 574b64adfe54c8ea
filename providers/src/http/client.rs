//! Clients: time limits, proxies and certificates. What curl reads from the environment is read here as curl reads it.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
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
    built(client_builder(options, true)?)
}

/// What a builder makes.
pub(crate) fn built(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| format!("no HTTP client can be made: {}", super::server::causes(&error)))
}

/// A client as [`client`] makes it, to which more can be said. Without `by_proxy` it goes directly, whatever proxies the environment names.
pub(crate) fn client_builder(options: &ClientOptions, by_proxy: bool) -> Result<ClientBuilder, String> {
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
    for (names, scheme) in PROXIES.into_iter().filter(|_| by_proxy) {
        let Some((name, address)) = first_variable(names) else { continue };
        encrypted_proxy |= address.starts_with("https:");
        // The error may repeat the address, which may hold a password.
        let proxy = scheme(&address).map_err(|_| format!("`{name}` is no address of a proxy"))?;
        let exceptions = first_variable(EXCEPTIONS);
        builder = builder.proxy(proxy.no_proxy(exceptions.and_then(|(_, list)| NoProxy::from_string(&list))));
    }
    builder = match certificates(options)? {
        Some(certificates) => builder.tls_certs_only(certificates),
        None if options.plain && !encrypted_proxy => builder.tls_certs_only([]),
        None => builder,
    };
    Ok(builder)
}

/// The proxies that the environment names, and which addresses are asked by way of one: as the clients themselves decide it.
pub(crate) struct Proxies {
    matcher: Matcher,
    hosts: Vec<String>,
}

impl Proxies {
    pub(crate) fn from_environment() -> Proxies {
        Proxies::from_addresses(
            PROXIES.map(|(names, _)| first_variable(names).map_or_else(String::new, |(_, address)| address)),
            first_variable(EXCEPTIONS).map_or_else(String::new, |(_, list)| list),
        )
    }

    /// In the order of [`PROXIES`]; those that are empty are none.
    pub(crate) fn from_addresses(proxies: [String; 3], exceptions: String) -> Proxies {
        let hosts = proxies.iter().filter_map(|address| host(address)).collect();
        let [http, https, all] = proxies;
        Proxies { matcher: Matcher::builder().http(http).https(https).all(all).no(exceptions).build(), hosts }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether that is the host of one.
    pub(crate) fn are_at(&self, host: &str) -> bool {
        self.hosts.iter().any(|proxy| proxy == host)
    }

    /// Whether an address is asked by way of one.
    pub(crate) fn serve(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.matcher.intercept(&uri).is_some())
    }
}

/// The host of a proxy's address, which may be written without its scheme.
fn host(address: &str) -> Option<String> {
    let url = Url::parse(address).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{address}")).ok());
    Some(url?.host_str()?.to_owned())
}

type MakeProxy = fn(&str) -> reqwest::Result<Proxy>;

/// Where proxies are named. As curl does, `HTTP_PROXY` is left alone: a CGI server sets it to what a stranger sent as the header `Proxy`.
const PROXIES: [(&[&str], MakeProxy); 3] = [
    (&["http_proxy"], |address| Proxy::http(address)),
    (&["https_proxy", "HTTPS_PROXY"], |address| Proxy::https(address)),
    (&["all_proxy", "ALL_PROXY"], |address| Proxy::all(address)),
];

/// Hosts that are asked directly all the same.
const EXCEPTIONS: &[&str] = &["no_proxy", "NO_PROXY"];

fn first_variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

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
