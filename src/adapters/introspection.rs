//! Asks an issuer about opaque tokens (RFC 7662): each token once at a time, and only so many at
//! once.

use super::failed_auth::Asker;
use super::web::Web;
use crate::model::digest::Sha256;
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

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The issuer did not answer, or not in time.
    Unavailable,
    /// It was not asked: whoever showed the token was wrong too often meanwhile, and has to wait.
    HeldOff(Duration),
}

type Answer = Option<Result<Arc<[u8]>, Unanswered>>;

/// One issuer's introspection endpoint.
pub struct Introspector {
    url: String,
    client_id: String,
    secret: Secret,
    web: Arc<Web>,
    permits: Semaphore,
    /// Tokens that the issuer is being asked about.
    under_way: Mutex<HashMap<Sha256, watch::Receiver<Answer>>>,
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
    pub async fn ask(
        self: &Arc<Self>,
        token: &str,
        asker: &Asker,
    ) -> Result<Arc<[u8]>, Unanswered> {
        let mut answer = self.join(token, asker).ok_or(Unanswered::Unavailable)?;
        let answered = answer.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(Unanswered::Unavailable)),
            _ => Err(Unanswered::Unavailable),
        }
    }

    /// The answer to come; `None`: too much is asked already.
    fn join(self: &Arc<Self>, token: &str, asker: &Asker) -> Option<watch::Receiver<Answer>> {
        let mut under_way = lock(&self.under_way);
        let digest = Sha256::of(token.as_bytes());
        if let Some(answer) = under_way.get(&digest) {
            return Some(answer.clone());
        }
        if under_way.len() >= WAITING_MAX {
            return None;
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(digest, answer.clone());
        let (this, token, asker) = (self.clone(), Box::<str>::from(token), asker.clone());
        // A task of its own: the first who asked may leave, the others stay.
        tokio::spawn(async move {
            let result = tokio::time::timeout(PATIENCE, this.fetch(&token, &asker)).await;
            // Without receivers nobody has to be told.
            let _ = tell.send(Some(result.unwrap_or(Err(Unanswered::Unavailable))));
            drop(token);
            // Who looked for what is remembered a moment too early asks nobody else.
            tokio::time::sleep(LINGER).await;
            lock(&this.under_way).remove(&digest);
        });
        Some(answer)
    }

    async fn fetch(&self, token: &str, asker: &Asker) -> Result<Arc<[u8]>, Unanswered> {
        // Never closed.
        let asking = asker.asking();
        let _own = asking.acquire().await.map_err(|_| Unanswered::Unavailable)?;
        let _permit = self.permits.acquire().await.map_err(|_| Unanswered::Unavailable)?;
        // Many wait here at once, and the first of them may have been wrong.
        if let Some(wait) = asker.wait() {
            return Err(Unanswered::HeldOff(wait));
        }
        let form =
            format!("token={}&token_type_hint=access_token", percent::encode(token.as_bytes()));
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        let id = percent::encode(self.client_id.as_bytes());
        let secret = percent::encode(self.secret.expose());
        match self.web.post(&self.url, form, (id, secret)).await {
            Ok(answer) => Ok(answer.body.into()),
            Err(_) => Err(Unanswered::Unavailable),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
