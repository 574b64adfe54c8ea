//! CURVE: the kernel's sockets take their keys from the connection file, the client's check them and make up a pair of their own.

use omq_tokio::{CurveKeypair, CurvePublicKey, CurveSecretKey, Options};

use super::TransportError;
use crate::{ConnectionFile, CurveKeys};

/// A fresh key pair for a kernel.
pub fn generate_keys() -> CurveKeys {
    let pair = CurveKeypair::generate();
    CurveKeys { public: pair.public.to_z85(), secret: pair.secret.to_z85() }
}

pub(super) fn server_mechanism(options: Options, file: &ConnectionFile) -> Result<Options, TransportError> {
    let Some(keys) = &file.curve else { return Ok(options) };
    let secret = CurveSecretKey::from_z85(&keys.secret).map_err(|_| SECRET)?;
    let public = public_key(keys)?;
    if secret.derive_public() != public {
        return Err(TransportError::CurvePair);
    }
    Ok(options.curve_server(CurveKeypair { public, secret }))
}

pub(super) fn client_mechanism(options: Options, file: &ConnectionFile) -> Result<Options, TransportError> {
    let Some(keys) = &file.curve else { return Ok(options) };
    Ok(options.curve_client(CurveKeypair::generate(), public_key(keys)?))
}

const SECRET: TransportError = TransportError::CurveKey { field: "curve_secretkey" };
const PUBLIC: TransportError = TransportError::CurveKey { field: "curve_publickey" };

fn public_key(keys: &CurveKeys) -> Result<CurvePublicKey, TransportError> {
    CurvePublicKey::from_z85(&keys.public).map_err(|_| PUBLIC)
}
