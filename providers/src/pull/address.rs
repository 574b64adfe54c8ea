//! Which addresses a download may go to. A name is resolved, what it resolves to is checked, and the connection goes to what was checked
//! and nowhere else: the same check resolves names for the client, so that no second answer of a name server comes between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::timeout;

use super::error::PullError;
use crate::http::Proxies;

/// How long a name may take to resolve that a proxy resolves as well: where only the proxy knows names, servers here may not answer.
const PATIENCE_BESIDE_PROXY: Duration = Duration::from_secs(1);

/// What a download may go to.
pub(super) struct Allowed {
    /// Whether this machine's own addresses are allowed, also without encryption.
    pub(super) loopback: bool,
    /// An endpoint that the user's environment names: it is the user's own decision wherever it is.
    pub(super) endpoint: Option<Url>,
    /// The user's proxies, which resolve names themselves.
    pub(super) proxies: Proxies,
}

const PUBLIC: &str = "downloads come by `https` from public addresses";

impl Allowed {
    /// Refuses an address for its scheme, its host, or what its host resolves to. A name that does not resolve here is not refused:
    /// the connection fails by itself, or a proxy knows it, whose rules hold then.
    pub(super) async fn check(&self, url: &Url) -> Result<(), PullError> {
        let refuse = |problem: String| PullError::Refused { address: shown(url), problem };
        if self.is_endpoint(url) {
            return Ok(());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it holds a user's name; write the address without what precedes the `@`".to_owned()));
        }
        let Some(host) = url.host_str() else {
            return Err(refuse("it names no host".to_owned()));
        };
        let addresses: Vec<IpAddr> = match literal(host) {
            Some(address) => vec![address],
            None if is_localhost(host) => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            None if self.proxies.serve(url) => timeout(PATIENCE_BESIDE_PROXY, resolved(host)).await.unwrap_or_default(),
            None => resolved(host).await,
        };
        for address in &addresses {
            if let Some(why) = self.forbids(*address) {
                let of = if literal(host).is_some() { String::new() } else { format!("`{host}` resolves to ") };
                let works = if is_loopback(*address) { self.what_works() } else { PUBLIC };
                return Err(refuse(format!("{of}{address}, which is {why}; {works}")));
            }
        }
        let on_this_machine = !addresses.is_empty() && addresses.iter().all(|address| is_loopback(*address));
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.loopback && on_this_machine => Ok(()),
            scheme => Err(refuse(format!("its scheme is `{scheme}`; {}", self.what_works()))),
        }
    }

    /// Whether an address is at the endpoint that the user chose, to which alone a token may go.
    pub(super) fn is_endpoint(&self, url: &Url) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.origin() == url.origin())
    }

    fn forbids(&self, address: IpAddr) -> Option<&'static str> {
        if self.loopback && is_loopback(address) {
            return None;
        }
        not_public(address)
    }

    fn what_works(&self) -> &'static str {
        if self.loopback {
            "downloads come by `https` from public addresses, or from this machine"
        } else {
            "downloads come by `https` from public addresses; `allow_loopback = true` under `[downloads]` in the user's configuration allows this machine's own"
        }
    }
}

async fn resolved(host: &str) -> Vec<IpAddr> {
    let addresses = tokio::net::lookup_host((host, 0)).await;
    addresses.map(|addresses| addresses.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// Resolves for a client what [`Allowed::check`] would let pass.
pub(super) struct CheckedNames {
    pub(super) allowed: Arc<Allowed>,
    /// Whether the client asks proxies alone, which may be anywhere. One that goes directly must not come to a proxy's host by its name.
    pub(super) by_proxy: bool,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, by_proxy) = (Arc::clone(&self.allowed), self.by_proxy);
        Box::pin(async move {
            let name = name.as_str();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let own = allowed.endpoint.as_ref().and_then(Url::host_str) == Some(name);
            let is_proxy = by_proxy && allowed.proxies.are_at(name);
            if !own && !is_proxy {
                for address in &addresses {
                    if let Some(why) = allowed.forbids(address.ip()) {
                        return Err(format!("`{name}` resolves to {}, which is {why}", address.ip()).into());
                    }
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An address as errors and logs show it: without user, password, query and fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The address that a host is, however it is written: `Url` has read `2130706433` and `0177.0.0.1` as the WHATWG says.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A name that means this machine whoever is asked: RFC 6761, section 6.3.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost")
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

/// Why an address is not one of the public internet, by the IANA registries of special-purpose addresses.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => v4_not_public(v4),
        IpAddr::V6(v6) => v6_not_public(v6),
    }
}

fn v4_not_public(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Some("this machine"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("in a private network"),
        (169, 254, _) => Some("link-local"),
        (100, 64..=127, _) => Some("in a carrier's private network"),
        (224..=239, ..) => Some("a multicast address"),
        (0, ..) | (240..=255, ..) => Some("reserved"),
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => Some("reserved"),
        _ => None,
    }
}

fn v6_not_public(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        v4_not_public(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("reserved"),
        // An IPv4 address, mapped or compatible.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => embedded(high, low).or(Some("an IPv4 address in disguise")),
        // NAT64 and 6to4 carry one.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] => Some("in a private network"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("in a private network"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Teredo and other protocols' own, and documentation.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("reserved"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        Allowed { loopback: false, endpoint: None, proxies: proxies("", "") }
    }

    fn proxies(all: &str, exceptions: &str) -> Proxies {
        Proxies::from_addresses([String::new(), String::new(), all.to_owned()], exceptions.to_owned())
    }

    async fn refusal(allowed: &Allowed, url: &str) -> Option<String> {
        allowed.check(&Url::parse(url).unwrap()).await.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_is_not_public_is_refused_however_it_is_written() {
        for host in [
            "localhost:8000",
            "[::1]",
            "127.0.0.2",
            "LOCALHOST",
            "a@localhost",
            "172.16.0.1",
            "169.254.169.254",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[::]",
            "localhost.",
            "198.18.0.1",
            "a:b@1.1.1.1",
        ] {
            for scheme in ["https", "http"] {
                let told = refusal(&allowed(), &format!("{scheme}://{host}/m.gguf")).await;
                assert!(told.is_some(), "{scheme}://{host}");
            }
        }
    }

    #[tokio::test]
    async fn public_addresses_pass_by_https_alone() {
        let allowed = allowed();
        for host in ["1.1.1.1", "[2606:4700::1111]", "172.32.0.1", "100.128.0.1", "10.example.invalid"] {
            assert_eq!(refusal(&allowed, &format!("https://{host}/m.gguf")).await, None, "{host}");
            let told = refusal(&allowed, &format!("http://{host}/m.gguf")).await.unwrap();
            assert!(told.contains("its scheme is `http`"), "{told}");
        }
        assert!(refusal(&allowed, "ftp://1.1.1.1/m.gguf").await.is_some());
        assert!(refusal(&allowed, "file:///etc/passwd").await.is_some());
    }

    #[tokio::test]
    async fn loopback_and_the_endpoint_are_the_users_decision() {
        let loopback = Allowed { loopback: true, ..allowed() };
        assert_eq!(refusal(&loopback, "http://127.0.0.1:8000/m.gguf").await, None);
        assert!(refusal(&loopback, "http://10.0.0.1/m.gguf").await.is_some());
        assert!(refusal(&loopback, "https://169.254.169.254/m.gguf").await.is_some());
        let endpoint = Url::parse("http://127.0.0.1:8000").unwrap();
        let endpoint = Allowed { endpoint: Some(endpoint), ..allowed() };
        assert_eq!(refusal(&endpoint, "http://127.0.0.1:8000/m.gguf").await, None);
        assert!(refusal(&endpoint, "http://127.0.0.1:8001/m.gguf").await.is_some());
    }

    #[tokio::test]
    async fn a_proxy_makes_no_private_address_public() {
        for exceptions in ["", "inner"] {
            let allowed = Allowed { proxies: proxies("http://inner:3128", exceptions), ..allowed() };
            for host in ["127.0.0.1", "10.0.0.1", "localhost", "2130706433"] {
                assert!(refusal(&allowed, &format!("https://{host}/m.gguf")).await.is_some(), "{host}");
            }
        }
        let served =
            |exceptions: &str| proxies("inner:3128", exceptions).serve(&Url::parse("https://inner/m").unwrap());
        assert!(served("") && served("other") && !served("inner") && !served("*"));
        assert!(proxies("inner:3128", "").are_at("inner") && proxies("", "").is_empty());
    }

    #[tokio::test]
    async fn a_proxys_own_name_is_known_to_those_alone_that_ask_it() {
        let resolves = async |by_proxy| {
            let allowed = Arc::new(Allowed { proxies: proxies("http://localhost:3128", "localhost"), ..allowed() });
            CheckedNames { allowed, by_proxy }.resolve("localhost".parse().unwrap()).await.is_ok()
        };
        assert!(resolves(true).await && !resolves(false).await);
    }

    #[test]
    fn what_an_error_shows_holds_no_secret() {
        let url = Url::parse("https://me:secret@host/m.gguf?token=secret#secret").unwrap();
        assert_eq!(shown(&url), "https://host/m.gguf");
    }
}
