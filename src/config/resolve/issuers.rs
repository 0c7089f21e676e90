//! `[[issuer]]`: who makes tokens, how we know that they are genuine, and what we demand of them.

use super::base_url::url_fault;
use super::bounds::{Longest, duration};
use super::names::check_name;
use super::secrets::in_words;
use super::{Context, Mode};
use crate::config::problem::{quoted, suggestion};
use crate::config::raw::RawGateway;
use crate::config::raw::at::At;
use crate::config::raw::issuer::{RawAccept, RawIntrospection, RawIssuer};
use crate::config::raw::table::Section;
use crate::config::{Introspection, Issuer, TokenSource};
use crate::model::digest::Sha256;
use crate::model::secret::Secret;
use crate::stages::authentication::accept::Accept;
use crate::stages::authentication::jwt;
use crate::stages::authentication::keys::{self, KeySet};
use jsonwebtoken::Algorithm;
use std::sync::Arc;

impl Context<'_> {
    pub(super) fn issuers(&mut self, raw: &RawGateway) -> Vec<Arc<Issuer>> {
        let typed = raw.issuer.as_ref().map_or(&[][..], |issuers| &issuers.value);
        let mut issuers: Vec<Arc<Issuer>> = Vec::new();
        for at in typed {
            let Some(issuer) = self.issuer(at) else { continue };
            let same_name = issuers.iter().any(|other| other.policy.name == issuer.policy.name);
            let iss = &issuer.policy.issuer;
            let same_iss = iss.is_some() && issuers.iter().any(|o| o.policy.issuer == *iss);
            if same_name || same_iss {
                let what = if same_name { "is called the same" } else { "has the same `issuer`" };
                let message = format!("another issuer {what}: nobody could tell whose a token is");
                let help = "make one issuer of the two, with all audiences";
                self.notes.problem("duplicate-issuer", &at.span, message, help);
            }
            issuers.push(Arc::new(issuer));
        }
        issuers
    }

    fn issuer(&mut self, at: &Section<RawIssuer>) -> Option<Issuer> {
        let raw = &at.value;
        let name = raw.name.as_ref();
        let name = self.notes.required(&at.span, "[[issuer]]", "name", name, "\"corporate\"");
        let name = name.filter(|name| check_name(&mut self.notes, "issuer", name));
        let algorithms = self.algorithms(raw);
        let accept = accept(raw);
        let is_asked = raw.introspection.is_some();
        let claims = |typed: &Option<At<Vec<At<String>>>>, usual: &[&str]| match typed {
            Some(typed) => typed.value.iter().map(|claim| claim.value.clone()).collect(),
            None => usual.iter().map(|claim| (*claim).to_owned()).collect(),
        };
        let policy = jwt::Policy {
            name: Arc::from(name.map_or("", |name| name.value.as_str())),
            issuer: self.iss(at),
            audiences: self.audiences(at),
            algorithms: algorithms.clone(),
            accept,
            leeway: self.leeway(raw),
            client_claims: claims(&raw.client_claims, accept.client_claims()),
            scope_claims: claims(&raw.scope_claims, accept.scope_claims()),
        };
        for typed in [&raw.client_claims, &raw.scope_claims].into_iter().flatten() {
            if typed.value.is_empty() {
                let help = "write the names of claims, or remove the key";
                self.notes.problem("bad-claims", &typed.span, "this list is empty", help);
            }
        }
        let source = match &raw.introspection {
            Some(introspection) => self.introspection(introspection),
            None => self.keys(at, &algorithms),
        };
        if is_asked {
            self.check_unmixed(raw);
        }
        let scopes = raw.scopes.as_ref();
        let scopes = scopes.map(|scopes| scopes.iter().map(|s| s.value.clone()).collect());
        name?;
        Some(Issuer { policy: Arc::new(policy), source: source?, scopes })
    }

    fn iss(&mut self, at: &Section<RawIssuer>) -> Option<String> {
        let typed = at.value.issuer.as_ref();
        if at.value.introspection.is_some() {
            return typed.map(|typed| typed.value.clone());
        }
        let example = "\"https://idp.example.com\"";
        let typed = self.notes.required(&at.span, "[[issuer]]", "issuer", typed, example)?;
        if typed.value.is_empty() {
            let help = "write what stands in `iss` of its tokens";
            self.notes.problem("bad-issuer", &typed.span, "`issuer` is empty", help);
        }
        Some(typed.value.clone())
    }

    /// RFC 9068 §4: a token for somebody else is none for us.
    fn audiences(&mut self, at: &Section<RawIssuer>) -> Vec<String> {
        let typed = at.value.audiences.as_ref();
        if at.value.introspection.is_none() {
            let example = "[\"erp-gateway\"]";
            self.notes.required(&at.span, "[[issuer]]", "audiences", typed, example);
        }
        let Some(typed) = typed else {
            if at.value.introspection.is_some() {
                let message = "tokens for any audience are taken: there are no `audiences`";
                let help = "write what stands in `aud` of tokens for this gateway";
                self.notes.warning("no-audiences", &at.span, message, help);
            }
            return Vec::new();
        };
        if typed.value.is_empty() || typed.value.iter().any(|audience| audience.value.is_empty()) {
            let message = "an audience is missing or empty: tokens for anybody would be taken";
            let help = "write what stands in `aud` of tokens for this gateway";
            self.notes.problem("bad-audiences", &typed.span, message, help);
        }
        typed.value.iter().map(|audience| audience.value.clone()).collect()
    }

    fn algorithms(&mut self, raw: &RawIssuer) -> Vec<Algorithm> {
        let shared = raw.hmac_secret.is_some();
        let Some(typed) = &raw.algorithms else {
            return if shared { vec![Algorithm::HS256] } else { keys::DEFAULT.to_vec() };
        };
        if typed.value.is_empty() {
            let help = "write one of the names, or remove the key for the usual ones";
            self.notes.problem("no-algorithms", &typed.span, "`algorithms` is empty", help);
        }
        let mut algorithms = Vec::new();
        for name in &typed.value {
            match keys::algorithm(&name.value) {
                Some(algorithm) if keys::is_symmetric(algorithm) == shared => {
                    algorithms.push(algorithm);
                }
                Some(_) => {
                    let message = match shared {
                        true => format!("{} can't be verified by a secret", quoted(&name.value)),
                        false => format!("{} needs `hmac_secret`", quoted(&name.value)),
                    };
                    let help = "an issuer has either keys or a shared secret: make two of it";
                    self.notes.problem("algorithm-mixed", &name.span, message, help);
                }
                None => self.unknown_algorithm(name),
            }
        }
        algorithms
    }

    fn unknown_algorithm(&mut self, name: &At<String>) {
        let (message, help) = match name.value.as_str() {
            "ES512" => (
                "ES512 (ECDSA on P-521) can't be verified here".to_owned(),
                "have the issuer sign with ES384, ES256, PS256 or EdDSA".to_owned(),
            ),
            "none" => (
                "`none` is no signature: everybody could make such tokens".to_owned(),
                "remove it".to_owned(),
            ),
            other => {
                let known = keys::ALGORITHMS.iter().map(|(name, _)| *name);
                (format!("there is no algorithm {}", quoted(other)), suggestion(other, known))
            }
        };
        self.notes.problem("unknown-algorithm", &name.span, message, help);
    }

    fn leeway(&mut self, raw: &RawIssuer) -> i64 {
        let longest = Longest { text: "5m", zero: true };
        let leeway = duration(&mut self.notes, "leeway", raw.leeway.as_ref(), "30s", longest);
        i64::try_from(leeway.as_secs()).unwrap_or(0)
    }

    /// Where the keys come from: exactly one place.
    fn keys(&mut self, at: &Section<RawIssuer>, algorithms: &[Algorithm]) -> Option<TokenSource> {
        let raw = &at.value;
        let typed = [
            raw.jwks_uri.as_ref().map(|uri| &uri.span),
            raw.jwks_file.as_ref().map(|file| &file.span),
            raw.hmac_secret.as_ref().map(|secret| &secret.span),
        ];
        if let [_, second, ..] = typed.iter().flatten().collect::<Vec<_>>().as_slice() {
            let message = "there are two places for the keys of this issuer";
            let help = "keep one of `jwks_uri`, `jwks_file` and `hmac_secret`";
            self.notes.problem("keys-mixed", second, message, help);
            return None;
        }
        if let Some(secret) = &raw.hmac_secret {
            let (value, _) = self.secret("hmac_secret", secret)?;
            self.check_secret_length(secret, &value, algorithms);
            let digest = Sha256::of(value.expose());
            let keys = KeySet::of_secret(value.expose(), algorithms);
            return Some(TokenSource::Fixed(Arc::new(keys), digest));
        }
        if let Some(file) = &raw.jwks_file {
            return self.key_file(file, algorithms);
        }
        let (key, typed) = match &raw.jwks_uri {
            Some(uri) => ("jwks_uri", uri),
            None => ("issuer", raw.issuer.as_ref()?),
        };
        if let Some(fault) = url_fault(&typed.value) {
            let message = format!("this `{key}` can't be asked for keys: it {fault}");
            let help = match key {
                "issuer" => "write `jwks_uri = \"https://…\"` or `jwks_file` beside it",
                _ => "write it as in \"https://idp.example.com/keys\"",
            };
            self.notes.problem("bad-url", &typed.span, message, help);
            return None;
        }
        Some(match &raw.jwks_uri {
            Some(uri) => TokenSource::Uri(uri.value.clone()),
            None => TokenSource::Discovery,
        })
    }

    fn check_secret_length(
        &mut self,
        at: &At<impl Sized>,
        secret: &Secret,
        algorithms: &[Algorithm],
    ) {
        let needed = algorithms.iter().map(|a| keys::secret_bytes_min(*a)).max().unwrap_or(0);
        // In a check it may be missing, which is said already; in the sandbox it always is.
        let length = secret.expose().len();
        if length > 0 && length < needed {
            let message = format!(
                "the secret of `hmac_secret` has {length} bytes: it could be guessed \
                 (RFC 7518 §3.2)"
            );
            let help = format!("use {needed} random bytes or more");
            self.notes.problem("secret-too-short", &at.span, message, help);
        }
    }

    fn key_file(&mut self, typed: &At<String>, algorithms: &[Algorithm]) -> Option<TokenSource> {
        let path = self.path(&typed.value);
        if self.mode == Mode::Sandbox {
            // It gets the simulator's keys.
            return Some(TokenSource::Discovery);
        }
        let read = self.sources.read(&path).map_err(|error| in_words(&error));
        let parsed = read.and_then(|bytes| {
            let (keys, skipped) = KeySet::parse(&bytes, algorithms)?;
            Ok((keys, skipped, Sha256::of(&bytes)))
        });
        match parsed {
            Ok((keys, skipped, digest)) => {
                for key in skipped {
                    let id = quoted(&key.id);
                    let message = format!("the key {id} in this file is not used: {}", key.why);
                    let help = "remove it from the file, or correct it";
                    self.notes.warning("key-unfit", &typed.span, message, help);
                }
                Some(TokenSource::Fixed(Arc::new(keys), digest))
            }
            Err(why) => {
                let message = format!("{} can't be used: {why}", quoted(&typed.value));
                let help = "name a JWK set (RFC 7517 §5) with the issuer's public keys";
                self.notes.problem("bad-keys", &typed.span, message, help);
                None
            }
        }
    }

    fn introspection(&mut self, at: &Section<RawIntrospection>) -> Option<TokenSource> {
        let raw = &at.value;
        let url = raw.url.as_ref();
        let example = "\"https://idp.example.com/introspect\"";
        let url = self.notes.required(&at.span, "introspection", "url", url, example);
        let client_id = raw.client_id.as_ref();
        let client_id =
            self.notes.required(&at.span, "introspection", "client_id", client_id, "\"erpgate\"");
        let secret = raw.client_secret.as_ref();
        let example = "{ env = \"NAME\" }";
        let secret =
            self.notes.required(&at.span, "introspection", "client_secret", secret, example);
        let secret = secret.and_then(|typed| self.secret("client_secret", typed));
        let url = url?;
        if let Some(fault) = url_fault(&url.value) {
            let message = format!("this `url` can't be asked: it {fault}");
            let help = "write it as in \"https://idp.example.com/introspect\"";
            self.notes.problem("bad-url", &url.span, message, help);
            return None;
        }
        Some(TokenSource::Introspection(Introspection {
            url: url.value.clone(),
            client_id: client_id?.value.clone(),
            client_secret: secret.map_or(Secret::new(b""), |(secret, _)| secret),
        }))
    }

    /// An issuer that is asked has no keys.
    fn check_unmixed(&mut self, raw: &RawIssuer) {
        let places = [
            ("jwks_uri", raw.jwks_uri.as_ref().map(|at| at.span.clone())),
            ("jwks_file", raw.jwks_file.as_ref().map(|at| at.span.clone())),
            ("hmac_secret", raw.hmac_secret.as_ref().map(|at| at.span.clone())),
            ("algorithms", raw.algorithms.as_ref().map(|at| at.span.clone())),
        ];
        for (key, span) in places.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let message = format!("an issuer with `introspection` is asked: it has no `{key}`");
            let help = "remove it, or make two issuers";
            self.notes.problem("keys-mixed", &span, message, help);
        }
    }
}

/// An issuer that is asked says what its tokens are.
fn accept(raw: &RawIssuer) -> Accept {
    match raw.accept.as_ref().map(|accept| accept.value) {
        None if raw.introspection.is_some() => Accept::Plain,
        None | Some(RawAccept::Rfc9068) => Accept::Rfc9068,
        Some(RawAccept::Entra) => Accept::Entra,
        Some(RawAccept::Auth0) => Accept::Auth0,
        Some(RawAccept::Keycloak) => Accept::Keycloak,
        Some(RawAccept::Okta) => Accept::Okta,
        Some(RawAccept::Plain) => Accept::Plain,
    }
}
