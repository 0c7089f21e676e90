//! The ledger by way of the running gateway's admin listener.

use super::Failure;
use super::pinned::{self, Stranger};
use crate::admin::ledger::Page;
use crate::config::Config;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde_json::{Map, Value};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a short question may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a copy of a large ledger may take before it begins to come, and pause.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A running gateway.
pub struct Gateway {
    runtime: Runtime,
    client: Client,
    address: SocketAddr,
    https: bool,
    token: Option<String>,
    stranger: Stranger,
}

impl Gateway {
    /// The one at this address.
    ///
    /// # Errors
    /// Why it can't be asked.
    pub fn at(address: SocketAddr, config: &Config) -> Result<Gateway, Failure> {
        let unable = |error: &dyn Error| format!("the admin listener can't be asked: {error}");
        let stranger = Stranger::default();
        let mut client =
            Client::builder().redirect(redirect::Policy::none()).no_proxy().read_timeout(PATIENCE);
        if let Some(tls) = &config.admin.tls {
            let speaking = pinned::speaking(tls, stranger.clone());
            client = client.tls_backend_preconfigured(speaking.map_err(|it| unable(&it))?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokens = [&config.admin.token, &config.admin.read_token];
        // One whose source is missing here is empty.
        let mut tokens = tokens.into_iter().flatten().filter(|it| !it.expose().is_empty());
        let token = tokens.next();
        Ok(Gateway {
            runtime: runtime.map_err(|error| unable(&error))?,
            client: client.build().map_err(|error| unable(&error))?,
            address,
            https: config.admin.tls.is_some(),
            token: token.map(|token| String::from_utf8_lossy(token.expose()).into_owned()),
            stranger,
        })
    }

    /// `GET /api/v1/ledger`.
    pub fn list(&self, page: Page) -> Result<Value, Failure> {
        let Page { standing, after, limit } = page;
        let query = format!("?state={}&after={after}&limit={limit}", standing.word());
        self.json(self.request(Method::GET, &query))
    }

    /// `GET /api/v1/ledger/{id}`.
    pub fn show(&self, id: i64) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, &format!("/{id}")))
    }

    /// `POST /api/v1/ledger/{id}/resolve`.
    pub fn resolve(&self, id: i64, members: Map<String, Value>) -> Result<Value, Failure> {
        let request = self.request(Method::POST, &format!("/{id}/resolve"));
        let body = Value::Object(members).to_string();
        self.json(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    /// `GET /api/v1/ledger/export`.
    pub fn export(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let response = self.answer(self.request(Method::GET, "/export"))?;
        self.copy(response, out).map(drop)
    }

    /// `GET /api/v1/ledger/backup`, into a file of this folder.
    pub fn back_up(&self, to: &Path, folder: &Path) -> Result<u64, Failure> {
        let shown = to.display();
        let unwritten = |error: std::io::Error| format!("{shown} can't be written: {error}");
        let response = self.answer(self.request(Method::GET, "/backup"))?;
        // It gets its name only when it is whole and on the disk; its owner alone can read it.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
        let bytes = self.copy(response, &mut file)?;
        file.as_file().sync_all().map_err(unwritten)?;
        file.persist_noclobber(to).map_err(|error| unwritten(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
        Ok(bytes)
    }

    fn request(&self, method: Method, rest: &str) -> RequestBuilder {
        let scheme = if self.https { "https" } else { "http" };
        let url = format!("{scheme}://{}/api/v1/ledger{rest}", self.address);
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.answer(request.timeout(TIMEOUT))?;
        let octets = self.runtime.block_on(response.bytes()).map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&octets).map_err(|_| self.not_ours())
    }

    /// The answer, if it is one that was asked for.
    fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let sent = self.runtime.block_on(async { request.send().await });
        let response = sent.map_err(|error| self.lost(&error))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let octets = self.runtime.block_on(response.bytes()).map_err(|error| self.lost(&error))?;
        let problem: Value = serde_json::from_slice(&octets).unwrap_or_default();
        let member = |name| problem.get(name).and_then(Value::as_str);
        let (Some(detail), Some(_)) = (member("detail"), member("code")) else {
            return Err(self.not_ours());
        };
        Err(match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => format!(
                "the admin listener at {} wants a token, and there is no secret of `[admin] token` \
                 here: provide it as for the gateway itself",
                self.address
            ),
            (StatusCode::UNAUTHORIZED, Some(_)) => format!(
                "the admin listener at {} does not take the secret of `[admin] token`: the gateway \
                 has another one",
                self.address
            ),
            _ => detail.to_owned(),
        })
    }

    fn copy(&self, mut response: Response, out: &mut dyn Write) -> Result<u64, Failure> {
        let mut bytes: u64 = 0;
        loop {
            let piece = self.runtime.block_on(response.chunk()).map_err(|it| self.lost(&it))?;
            let Some(piece) = piece else { return Ok(bytes) };
            out.write_all(&piece).map_err(|error| format!("it can't be written: {error}"))?;
            bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let address = self.address;
        if self.stranger.was_there() {
            return format!(
                "whoever listens at {address} shows a certificate that is not in the folder of \
                 `[admin] tls`, and was not told the token"
            );
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let what = match error {
            _ if error.is_timeout() => "does not answer in time",
            _ if error.is_connect() => "can't be spoken to",
            _ => "broke off",
        };
        format!("the admin listener at {address} {what}: {cause}")
    }

    fn not_ours(&self) -> Failure {
        format!("what listens at {} is not this version's admin listener", self.address)
    }
}
