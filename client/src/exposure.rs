//! What a kernel needs that other machines shall reach: keys, the address that leads to it, and a connection file for over there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use perilune_protocol::{ConnectionFile, CurveKeys, zmq};

use crate::arguments::Exposure;
use crate::failure::Failure;

/// Addresses of the documentation's networks (RFC 5737, RFC 3849): the way to them is the way to anybody, and nothing is sent.
const ANYBODY: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];

/// What a fresh kernel's connection file says: keys too, where other machines can reach it.
pub fn connection(exposure: &Exposure) -> ConnectionFile {
    let local = ConnectionFile::local();
    match exposure.ip {
        None => local,
        Some(ip) => ConnectionFile { ip: ip.to_string(), curve: (!ip.is_loopback()).then(zmq::generate_keys), ..local },
    }
}

/// What clients on the kernel's own machine use: an address that means all of them leads nowhere on some systems.
pub fn local(bound: &ConnectionFile) -> ConnectionFile {
    let ip = match bound.host().parse() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        _ => bound.ip.clone(),
    };
    ConnectionFile { ip, ..bound.clone() }
}

/// The connection file for other machines, and where it goes; none if they cannot reach the kernel.
pub fn elsewhere(
    exposure: &Exposure,
    path: &Path,
    bound: &ConnectionFile,
) -> Result<Option<(PathBuf, ConnectionFile)>, Failure> {
    let (Some(ip), Some(curve)) = (exposure.ip, &bound.curve) else { return Ok(None) };
    let host = match &exposure.advertise {
        Some(host) => host.clone(),
        None => address(ip)?.to_string(),
    };
    let secret = if exposure.for_jupyter { curve.secret.clone() } else { String::new() };
    let curve = Some(CurveKeys { public: curve.public.clone(), secret });
    Ok(Some((client_file(exposure, path), ConnectionFile { ip: host, curve, ..bound.clone() })))
}

/// Where the other machines' connection file goes.
pub fn client_file(exposure: &Exposure, path: &Path) -> PathBuf {
    let beside = || {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!("{stem}-client.json"))
    };
    exposure.client_file.clone().unwrap_or_else(beside)
}

/// The address that leads to a kernel on `ip`: itself, or if that means all of them the one by which this machine reaches others.
fn address(ip: IpAddr) -> Result<IpAddr, Failure> {
    if !ip.is_unspecified() {
        return Ok(ip);
    }
    let ways = ANYBODY.into_iter().filter(|anybody| ip.is_ipv6() || anybody.is_ipv4());
    ways.filter_map(own_address).find(|address| !address.is_loopback()).ok_or_else(|| {
        Failure::Usage(anyhow!(
            "cannot tell by which address other machines reach this one; say it with `--advertise HOST`"
        ))
    })
}

fn own_address(anybody: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if anybody.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(anybody, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(ip: &str) -> Exposure {
        Exposure { ip: Some(ip.parse().unwrap()), ..Exposure::default() }
    }

    #[test]
    fn whoever_can_be_reached_from_elsewhere_has_keys() {
        assert!(connection(&Exposure::default()).curve.is_none());
        assert!(connection(&exposure("127.0.0.2")).curve.is_none());
        assert!(connection(&exposure("::1")).curve.is_none());
        for ip in ["0.0.0.0", "::", "192.0.2.7"] {
            let connection = connection(&exposure(ip));
            assert!(connection.curve.is_some() && !connection.key.is_empty() && !connection.is_loopback(), "{ip}");
        }
    }

    #[test]
    fn the_file_for_elsewhere_keeps_the_kernels_secret_to_itself_unless_asked() {
        let exposure = exposure("192.0.2.7");
        let bound = connection(&exposure);
        let (path, file) = elsewhere(&exposure, Path::new("/run/kernel.json"), &bound).unwrap().unwrap();
        assert_eq!(path, Path::new("/run/kernel-client.json"));
        assert_eq!(file.ip, "192.0.2.7");
        assert_eq!(file.curve.unwrap().secret, "");
        let exposure = Exposure { for_jupyter: true, advertise: Some("gpu.example".to_owned()), ..exposure };
        let (_, file) = elsewhere(&exposure, Path::new("/run/kernel.json"), &bound).unwrap().unwrap();
        assert_eq!(file.ip, "gpu.example");
        assert!(file.curve == bound.curve);
    }

    #[test]
    fn clients_here_need_an_address_that_leads_somewhere() {
        for (ip, expected) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("*", "127.0.0.1"), ("192.0.2.7", "192.0.2.7")]
        {
            let bound = ConnectionFile { ip: ip.to_owned(), ..ConnectionFile::local() };
            assert_eq!(local(&bound).ip, expected);
        }
    }
}
