//! What proves the gateway to a vendor: every kind comes down to one header field, or to none.

use super::names::is_token;
use super::{Context, Mode};
use crate::config::Credential;
use crate::config::problem::quoted;
use crate::config::raw::at::At;
use crate::config::raw::secret::{RawSecret, RawText};
use crate::config::raw::table::Section;
use crate::config::raw::vendor::{RawCredential, RawCredentialKind as Kind};
use crate::model::secret::{Secret, SecretSource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;

/// Fields that are ours to write, or that frame the message: a credential in one of them would
/// be lost, or would break the request.
const RESERVED: [&str; 32] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-correlation-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Whether a field, in lower case, is ours to write, or frames the message.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

impl Context<'_> {
    /// `None` if it can't be used, which has been noted.
    pub(super) fn credential(&mut self, at: Option<&Section<RawCredential>>) -> Option<Credential> {
        let Some(at) = at else { return Some(Credential::None) };
        let raw = &at.value;
        let kind = raw.kind.as_ref();
        let kind = self.notes.required(&at.span, "credential", "kind", kind, "\"bearer\"")?.value;
        self.check_keys(raw, kind);
        match kind {
            Kind::None => Some(Credential::None),
            Kind::Passthrough => Some(Credential::Passthrough),
            Kind::Bearer => {
                let (token, source) = self.part(at, "token", raw.token.as_ref())?;
                self.field("authorization", b"Bearer ", &token, vec![source], at)
            }
            Kind::Basic => self.basic(at),
            Kind::Header => {
                let name = raw.name.as_ref();
                let example = "\"X-Api-Key\"";
                let name = self.notes.required(&at.span, "credential", "name", name, example);
                let name = name.and_then(|name| self.field_name(name));
                let (value, source) = self.part(at, "value", raw.value.as_ref())?;
                self.field(&name?, b"", &value, vec![source], at)
            }
        }
    }

    fn basic(&mut self, at: &Section<RawCredential>) -> Option<Credential> {
        let raw = &at.value;
        let example = "{ env = \"NAME\" }";
        let username = raw.username.as_ref();
        let username = self.notes.required(&at.span, "credential", "username", username, "\"me\"");
        let username = username.and_then(|typed| match &typed.value {
            RawText::Typed(text) => Some((Secret::new(text.as_bytes()), None)),
            RawText::Reference(reference) => self
                .reference("username", reference, &typed.span)
                .map(|(secret, source)| (secret, Some(source))),
        });
        let password = raw.password.as_ref();
        let password = self.notes.required(&at.span, "credential", "password", password, example);
        let password = password.and_then(|typed| self.secret("password", typed));
        let ((username, user_source), (password, source)) = (username?, password?);
        let colon = username.expose().contains(&b':');
        let control = [&username, &password]
            .iter()
            .any(|part| part.expose().iter().any(u8::is_ascii_control));
        if colon || control {
            let message = "the user name holds a `:`, or one of the two a control character";
            let help = "such a pair can't be sent (RFC 7617)";
            self.notes.problem("secret-unusable", &at.span, message, help);
            return None;
        }
        let pair = [username.expose(), b":", password.expose()].concat();
        let sources = user_source.into_iter().chain([source]).collect();
        let value = Secret::new(STANDARD.encode(&pair).as_bytes());
        self.field("authorization", b"Basic ", &value, sources, at)
    }

    fn part(
        &mut self,
        at: &Section<RawCredential>,
        key: &str,
        typed: Option<&At<RawSecret>>,
    ) -> Option<(Secret, SecretSource)> {
        let example = "{ env = \"NAME\" }";
        let typed = self.notes.required(&at.span, "credential", key, typed, example)?;
        self.secret(key, typed)
    }

    fn field(
        &mut self,
        name: &str,
        scheme: &[u8],
        secret: &Secret,
        sources: Vec<SecretSource>,
        at: &Section<RawCredential>,
    ) -> Option<Credential> {
        let value = [scheme, secret.expose()].concat();
        let legal = |byte: &u8| matches!(byte, b' ' | b'\t' | b'!'..=b'~' | 0x80..);
        let edges = secret.expose().trim_ascii().len() == secret.expose().len();
        // In a check a secret may be missing, which is a warning of its own.
        if !value.iter().all(legal) || !edges {
            let message = "this secret can't be sent in a header field";
            let help = "use visible ASCII characters, without spaces around them";
            self.notes.problem("secret-unusable", &at.span, message, help);
            return None;
        }
        let value = if self.mode == Mode::Sandbox { Vec::new() } else { value };
        Some(Credential::Field { name: name.to_owned(), value: Secret::new(&value), sources })
    }

    fn field_name(&mut self, typed: &At<String>) -> Option<String> {
        let name = typed.value.to_ascii_lowercase();
        let message = if !is_token(&name) {
            format!("{} is no name of a header field", quoted(&typed.value))
        } else if is_reserved(&name) {
            format!("{} can't hold a credential", quoted(&typed.value))
        } else {
            return Some(name);
        };
        let help = "write the field that the vendor asks for, as in \"X-Api-Key\"";
        self.notes.problem("bad-field-name", &typed.span, message, help);
        None
    }

    /// Every kind has keys of its own.
    fn check_keys(&mut self, raw: &RawCredential, kind: Kind) {
        let place = |span: &Range<usize>| span.clone();
        let typed = [
            ("token", raw.token.as_ref().map(|at| place(&at.span)), Kind::Bearer),
            ("username", raw.username.as_ref().map(|at| place(&at.span)), Kind::Basic),
            ("password", raw.password.as_ref().map(|at| place(&at.span)), Kind::Basic),
            ("name", raw.name.as_ref().map(|at| place(&at.span)), Kind::Header),
            ("value", raw.value.as_ref().map(|at| place(&at.span)), Kind::Header),
        ];
        let foreign = typed.into_iter().filter(|(_, _, of)| *of != kind);
        for (key, span) in foreign.filter_map(|(key, span, _)| Some((key, span?))) {
            let message = format!("a credential of this `kind` has no `{key}`");
            let help = "remove it, or write another `kind`";
            self.notes.problem("credential-mixed", &span, message, help);
        }
    }
}
