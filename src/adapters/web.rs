//! Asks issuers: short questions, bounded answers, no redirects, no proxy that the environment
//! names.

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a question may take, from its first byte to the last one of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const BYTES_MAX: usize = 256 << 10;

/// An answer with status 200.
#[derive(Debug)]
pub struct Answer {
    /// Its body.
    pub body: Vec<u8>,
    /// How long it may be kept, by its `Cache-Control`.
    pub max_age: Option<Duration>,
}

/// The door to issuers. The authorities that may have signed their certificates are the system's.
#[derive(Debug, Default)]
pub struct Web {
    client: OnceLock<Result<Client, String>>,
}

impl Web {
    /// Gets a JSON document.
    ///
    /// # Errors
    /// Why there is none, in words without anything that the other side wrote.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        let request = self.client()?.get(url).header(ACCEPT, "application/json");
        read(request.send().await.map_err(|error| words(&error))?).await
    }

    /// Posts a form, showing a name and a secret (RFC 7617).
    ///
    /// # Errors
    /// As [`Web::get`].
    pub async fn post(
        &self,
        url: &str,
        form: String,
        (name, secret): (String, String),
    ) -> Result<Answer, String> {
        let request = self
            .client()?
            .post(url)
            .header(ACCEPT, "application/json")
            .basic_auth(name, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        read(request.send().await.map_err(|error| words(&error))?).await
    }

    /// Made when it is first needed: reading the system's authorities takes a while, and a machine
    /// may have none.
    fn client(&self) -> Result<&Client, String> {
        let made = self.client.get_or_init(|| {
            // A second installation is refused, which is what we want.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .build()
                .map_err(|error| words(&error))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

async fn read(mut response: Response) -> Result<Answer, String> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(format!("it answered {}", status.as_u16()));
    }
    let max_age = max_age(response.headers().get(CACHE_CONTROL));
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| words(&error))? {
        if body.len() + piece.len() > BYTES_MAX {
            return Err(format!("its answer is longer than {BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { body, max_age })
}

/// `max-age` of a `Cache-Control` (RFC 9111 §5.2.2.1); nothing is kept where it says so.
fn max_age(field: Option<&HeaderValue>) -> Option<Duration> {
    let directives = field?.to_str().ok()?;
    let mut directives = directives.split(',').map(|d| d.trim().to_ascii_lowercase());
    directives.find_map(|directive| match directive.as_str() {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        other => {
            let seconds = other.strip_prefix("max-age=")?.trim_matches('"');
            seconds.parse().ok().map(Duration::from_secs)
        }
    })
}

/// What went wrong; the error's own words hold the address, and may hold what was received.
fn words(error: &reqwest::Error) -> String {
    let what = match error {
        _ if error.is_timeout() => "it did not answer in time",
        _ if error.is_connect() => "no connection could be made",
        _ if error.is_builder() => "it can't be asked",
        _ if error.is_body() || error.is_decode() => "its answer broke off",
        _ => "it did not answer",
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_may_be_kept() {
        for (field, expected) in [
            ("max-age=600", Some(600)),
            ("public, Max-Age=\"60\", must-revalidate", Some(60)),
            ("no-store", Some(0)),
            ("private", None),
            ("max-age=x", None),
        ] {
            let field = HeaderValue::from_static(field);
            assert_eq!(max_age(Some(&field)), expected.map(Duration::from_secs), "{field:?}");
        }
        assert_eq!(max_age(None), None);
    }
}
