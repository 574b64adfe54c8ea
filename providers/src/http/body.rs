//! Bodies that are read whole, up to a bound, and numbers for those that are sent.

use reqwest::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::server::Server;
use crate::error::{Error, ErrorKind};

/// The body of an answer; more than `most` bytes are an error, found before they are held.
pub(crate) async fn body(server: &Server, response: &mut Response, most: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| server.transport(&error))? {
        if body.len() + chunk.len() > most {
            let problem = format!("{} answered with more than {most} bytes", server.address());
            return Err(server.error(ErrorKind::Network, problem));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A number for the body of a request, as short as it was written: 0.7, not 0.699999988079071.
pub(crate) fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map(Value::from).unwrap_or(Value::Null)
}

/// The body of an answer as text; what is no UTF-8 becomes U+FFFD.
pub(crate) async fn text(server: &Server, response: &mut Response, most: usize) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&body(server, response, most).await?).into_owned())
}

/// The body of an answer as JSON of a known shape.
pub(crate) async fn json<T: DeserializeOwned>(
    server: &Server,
    response: &mut Response,
    most: usize,
) -> Result<T, Error> {
    let body = body(server, response, most).await?;
    serde_json::from_slice(&body).map_err(|error| server.not_json(response.headers(), &error.to_string()))
}
