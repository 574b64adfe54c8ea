//! Where an Ollama listens, read out of `OLLAMA_HOST` as Ollama itself reads it (`envconfig.Host` of its Go module, 0.17.4): one variable
//! says where a server listens and whom a client asks, so it may hold an address that only a server can use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where Ollama listens unless it is told otherwise.
pub(crate) const DEFAULT: &str = "http://127.0.0.1:11434";
const DEFAULT_PORT: &str = "11434";

/// The base URL that a value of `OLLAMA_HOST` means to a client. Nothing is refused: a port that is none is the default one.
pub(crate) fn base_url(value: &str) -> String {
    let value = value.trim().trim_matches(['"', '\'']).trim();
    let (scheme, rest, default_port) = match value.split_once("://") {
        None if value == "ollama.com" => ("https", "ollama.com:443", DEFAULT_PORT),
        None => ("http", value, DEFAULT_PORT),
        Some((scheme, rest)) => match scheme {
            "http" => (scheme, rest, "80"),
            "https" => (scheme, rest, "443"),
            _ => (scheme, rest, DEFAULT_PORT),
        },
    };
    let (place, path) = match rest.split_once('/') {
        Some((place, path)) => (place, path.trim_end_matches('/')),
        None => (rest, ""),
    };
    let (host, port) = match host_and_port(place) {
        Some((host, port)) => (host, port),
        None => (place.trim_matches(['[', ']']), default_port),
    };
    let port = if port.parse::<u16>().is_ok() { port } else { default_port };
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{}:{port}{slash}{path}", reachable(host))
}

/// `host:port` or `[host]:port` apart, as Go's `net.SplitHostPort` takes them; `None` where there is no port.
fn host_and_port(place: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let (host, port) = bracketed.split_once("]:")?;
        return Some((host, port));
    }
    let (host, port) = place.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

/// A host as a URL has it. Where a server listens on every address, or on none that is named, a client of this machine asks loopback.
fn reachable(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) if address == Ipv4Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST.to_string(),
        Ok(address) if address == Ipv6Addr::UNSPECIFIED => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(address) => address.to_string(),
        Err(_) if host.is_empty() => Ipv4Addr::LOCALHOST.to_string(),
        Err(_) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Ollama's own `TestHost`, where a client reaches what they mean: its `:1234` and `[::]` are a server's.
    #[test]
    fn a_value_means_what_it_means_to_ollama() {
        let cases = [
            ("", "http://127.0.0.1:11434"),
            ("1.2.3.4", "http://1.2.3.4:11434"),
            (":1234", "http://127.0.0.1:1234"),
            ("1.2.3.4:1234", "http://1.2.3.4:1234"),
            ("example.com", "http://example.com:11434"),
            ("example.com:1234", "http://example.com:1234"),
            (":66000", "http://127.0.0.1:11434"),
            (":-1", "http://127.0.0.1:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::]", "http://[::1]:11434"),
            ("::1", "http://[::1]:11434"),
            ("[::1]:1337", "http://[::1]:1337"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            (" 1.2.3.4 ", "http://1.2.3.4:11434"),
            ("\"1.2.3.4\"", "http://1.2.3.4:11434"),
            (" \" 1.2.3.4 \" ", "http://1.2.3.4:11434"),
            ("'1.2.3.4'", "http://1.2.3.4:11434"),
            ("http://1.2.3.4", "http://1.2.3.4:80"),
            ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
            ("https://1.2.3.4", "https://1.2.3.4:443"),
            ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
            ("https://example.com/ollama", "https://example.com:443/ollama"),
            ("https://example.com/ollama/", "https://example.com:443/ollama"),
            ("ollama.com", "https://ollama.com:443"),
        ];
        for (value, expected) in cases {
            assert_eq!(base_url(value), expected, "of `{value}`");
        }
        assert_eq!(base_url(""), DEFAULT);
    }
}
