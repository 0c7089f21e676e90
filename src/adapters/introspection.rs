//! Asks an issuer about opaque tokens (RFC 7662): each token once at a time, and only so many at
//! once.

use super::web::Web;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Questions to one issuer at a time.
const AT_ONCE: usize = 64;
/// How long a request waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer is still given to whoever asks the same.
const LINGER: Duration = Duration::from_secs(1);

/// The issuer did not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

type Answer = Option<Result<Arc<[u8]>, Unavailable>>;

/// One issuer's introspection endpoint.
pub struct Introspector {
    url: String,
    credential: HeaderValue,
    web: Arc<Web>,
    permits: Arc<Semaphore>,
    /// Tokens that the issuer is being asked about, compared whole.
    under_way: Mutex<HashMap<Box<str>, watch::Receiver<Answer>>>,
}

impl Introspector {
    /// For an endpoint that knows us by this name and secret; `None` if they can't be sent.
    pub fn new(
        url: &str,
        client_id: &str,
        secret: &[u8],
        web: Arc<Web>,
    ) -> Option<Arc<Introspector>> {
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        let pair = format!("{}:{}", encoded(client_id.as_bytes()), encoded(secret));
        let mut credential =
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
        credential.set_sensitive(true);
        Some(Arc::new(Introspector {
            url: url.to_owned(),
            credential,
            web,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: Mutex::default(),
        }))
    }

    /// What the issuer answers about a token. Whoever asks about the same token meanwhile gets the
    /// same answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(self: &Arc<Self>, token: &str) -> Result<Arc<[u8]>, Unavailable> {
        let mut answer = self.join(token);
        let answered = answer.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(Unavailable)),
            _ => Err(Unavailable),
        }
    }

    fn join(self: &Arc<Self>, token: &str) -> watch::Receiver<Answer> {
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(token) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(token.into(), answer.clone());
        let (this, token) = (self.clone(), Box::<str>::from(token));
        // A task of its own: the first who asked may leave, the others stay.
        tokio::spawn(async move {
            let result = tokio::time::timeout(PATIENCE, this.fetch(&token)).await;
            // Without receivers nobody has to be told.
            let _ = tell.send(Some(result.unwrap_or(Err(Unavailable))));
            // Who looked for what is remembered a moment too early asks nobody else.
            tokio::time::sleep(LINGER).await;
            lock(&this.under_way).remove(&token);
        });
        answer
    }

    async fn fetch(&self, token: &str) -> Result<Arc<[u8]>, Unavailable> {
        // Never closed.
        let _permit = self.permits.acquire().await.map_err(|_| Unavailable)?;
        let form = format!("token={}&token_type_hint=access_token", encoded(token.as_bytes()));
        match self.web.post(&self.url, form, &self.credential).await {
            Ok(answer) => Ok(answer.body.into()),
            Err(_) => Err(Unavailable),
        }
    }
}

/// `application/x-www-form-urlencoded`, with an escape for everything that is not unreserved.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_encoded() {
        assert_eq!(encoded(b"aZ0-._~"), "aZ0-._~");
        assert_eq!(encoded("a b+ü&=".as_bytes()), "a%20b%2B%C3%BC%26%3D");
        let web = Arc::new(Web::default());
        let made = Introspector::new("http://127.0.0.1:1", "me:x", b"s s", web).expect("legal");
        // me%3Ax:s%20s
        assert_eq!(made.credential, "Basic bWUlM0F4OnMlMjBz");
    }
}
