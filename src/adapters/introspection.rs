//! Asks an issuer about opaque tokens (RFC 7662): each token once at a time, and only so many at
//! once.

use super::web::Web;
use crate::model::percent;
use crate::model::secret::Secret;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Questions to one issuer at a time.
const AT_ONCE: usize = 64;
/// Tokens that somebody waits for an answer about.
const WAITING_MAX: usize = 16_384;
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
    client_id: String,
    secret: Secret,
    web: Arc<Web>,
    permits: Semaphore,
    /// Tokens that the issuer is being asked about, compared whole.
    under_way: Mutex<HashMap<Box<str>, watch::Receiver<Answer>>>,
}

impl Introspector {
    /// For an endpoint that knows us by this name and secret.
    pub fn new(url: String, client_id: String, secret: Secret, web: Arc<Web>) -> Arc<Self> {
        let permits = Semaphore::new(AT_ONCE);
        Arc::new(Introspector { url, client_id, secret, web, permits, under_way: Mutex::default() })
    }

    /// What the issuer answers about a token. Whoever asks about the same token meanwhile gets the
    /// same answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(self: &Arc<Self>, token: &str) -> Result<Arc<[u8]>, Unavailable> {
        let mut answer = self.join(token).ok_or(Unavailable)?;
        let answered = answer.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(Unavailable)),
            _ => Err(Unavailable),
        }
    }

    /// The answer to come; `None`: too much is asked already.
    fn join(self: &Arc<Self>, token: &str) -> Option<watch::Receiver<Answer>> {
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(token) {
            return Some(answer.clone());
        }
        if under_way.len() >= WAITING_MAX {
            return None;
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
        Some(answer)
    }

    async fn fetch(&self, token: &str) -> Result<Arc<[u8]>, Unavailable> {
        // Never closed.
        let _permit = self.permits.acquire().await.map_err(|_| Unavailable)?;
        let form =
            format!("token={}&token_type_hint=access_token", percent::encode(token.as_bytes()));
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        let (id, secret) =
            (percent::encode(self.client_id.as_bytes()), percent::encode(self.secret.expose()));
        match self.web.post(&self.url, form, (id, secret)).await {
            Ok(answer) => Ok(answer.body.into()),
            Err(_) => Err(Unavailable),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
