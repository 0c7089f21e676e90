//! Lets tests see what the provider was asked and decide how it behaves.
//!
//! `GET /_sandbox/control` shows the state; `POST` or `PUT` changes it and shows it afterwards:
//!
//! ```json
//! {"reset": true, "rotate": "corporate", "keep_old": false, "down": false, "slow_ms": 50,
//!  "status": 503, "lie": "huge", "revoke": "eyJ…",
//!  "mint": {"tenant": "corporate", "header": {"kid": null}, "claims": {"exp": 1}, "alg": "ES256"}}
//! ```
//!
//! Every member may be left out. They take effect in this order: `reset`, which opens a closed
//! listener and goes back to the first keys; `slow_ms`, `status` and `lie` (`null` ends one) and
//! `revoke`; `rotate` (a tenant's name, or `true` for all), after which older keys are published
//! no more unless `keep_old` says so; `mint`, whose token is the member `minted` of the answer;
//! `down`, which refuses and cuts connections and is best sent to the second listener. A change
//! that is refused as a mistake changes nothing.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Deserializer};

use super::directory::{Change, Directory};
use super::lies::Lie;
use super::mint::Mint;
use super::ring::{Generation, Order};
use crate::sandbox::answer::{Answer, Media};
use crate::sandbox::control::{Received, receive, refuse};

/// The body of a change, as typed by a person.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    reset: bool,
    rotate: Option<Rotate>,
    keep_old: Option<bool>,
    down: Option<bool>,
    slow_ms: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    status: Option<Option<u16>>,
    #[serde(default, deserialize_with = "present")]
    lie: Option<Option<Lie>>,
    revoke: Option<String>,
    mint: Option<Mint>,
}

/// Whose keys are to be replaced.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rotate {
    All(bool),
    One(String),
}

/// Tells a member that is `null` from one that is not there.
fn present<'de, T, D>(value: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(value).map(Some)
}

/// Answers a request to the control endpoint.
pub async fn answer(directory: &Arc<Directory>, request: Request<Incoming>) -> Answer {
    let body = match receive(request).await {
        Received::Look => return show(directory, None),
        Received::Wish(body) => body,
        Received::Refused(answer) => return answer,
    };
    let changed = match parse(&body) {
        Ok((change, wish)) => apply(directory, change, wish).await,
        Err(why) => Err(why),
    };
    match changed {
        Ok(minted) => show(directory, minted),
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

fn show(directory: &Directory, minted: Option<String>) -> Answer {
    let mut document = directory.document();
    if let Some(token) = minted {
        document.insert("minted".to_owned(), token.into());
    }
    Answer::json(StatusCode::OK, Media::Json, &document.into())
}

/// Reads a change: what happens at once, and the whole wish for the rest.
fn parse(body: &[u8]) -> Result<(Change, Wish), String> {
    let mut wish: Wish = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if wish.keep_old.is_some() && wish.rotate.is_none() {
        return Err("`keep_old` says nothing without `rotate`".to_owned());
    }
    let status = match wish.status {
        Some(Some(status @ 200..=599)) => Some(StatusCode::from_u16(status).ok()),
        Some(Some(_)) => return Err("`status` must be between 200 and 599".to_owned()),
        Some(None) => Some(None),
        None => None,
    };
    let change = Change {
        reset: wish.reset,
        delay: wish.slow_ms.map(Duration::from_millis),
        status,
        lie: wish.lie,
        revoke: wish.revoke.take(),
    };
    Ok((change, wish))
}

/// Carries a wish out, and gives the token that was minted.
async fn apply(
    directory: &Arc<Directory>,
    change: Change,
    wish: Wish,
) -> Result<Option<String>, String> {
    let mint = wish.mint.map(|mint| mint.check(directory)).transpose()?;
    let orders = match &wish.rotate {
        Some(Rotate::One(tenant)) if directory.profile(tenant).is_none() => {
            return Err(format!("rotate: there is no tenant `{tenant}`"));
        }
        Some(Rotate::One(tenant)) => directory.order(Some(tenant)),
        Some(Rotate::All(true)) => directory.order(None),
        Some(Rotate::All(false)) | None => Vec::new(),
    };
    if wish.lie == Some(Some(Lie::DuplicateKid)) {
        directory.meet(fill(directory.order_strangers()).await?);
    }
    let fresh = fill(orders).await?;
    directory.change(change);
    directory.rotate(fresh, wish.keep_old.unwrap_or(false));
    let minted = mint.map(|die| die.strike(directory)).transpose();
    let minted = minted.map_err(|_| "mint: signing failed".to_owned())?;
    if let Some(down) = wish.down.or(wish.reset.then_some(false)) {
        directory.switch(down).await.map_err(|error| error.to_string())?;
    }
    Ok(minted)
}

/// Makes keys without keeping others waiting.
pub async fn fill(orders: Vec<Order>) -> Result<Vec<(Order, Generation)>, String> {
    let failed = || "making keys failed".to_owned();
    let made = tokio::task::spawn_blocking(move || {
        orders
            .into_iter()
            .map(|order| order.fill().map(|keys| (order, keys)))
            .collect::<Result<Vec<_>, _>>()
    });
    made.await.map_err(|_| failed())?.map_err(|_| failed())
}

#[cfg(test)]
mod tests {
    use super::{Lie, Rotate, parse};
    use http::StatusCode;

    #[test]
    fn a_wish_is_read_with_all_its_members() {
        let (change, wish) = parse(
            br#"{"reset":true,"rotate":"t","keep_old":true,"down":true,"slow_ms":50,"status":503,
                 "lie":"empty-jwks","revoke":"x","mint":{"tenant":"t"}}"#,
        )
        .unwrap();
        assert!(change.reset && wish.mint.is_some());
        assert_eq!(change.delay.unwrap().as_millis(), 50);
        assert_eq!(change.status, Some(Some(StatusCode::SERVICE_UNAVAILABLE)));
        assert_eq!(change.lie, Some(Some(Lie::EmptyJwks)));
        assert_eq!(change.revoke.as_deref(), Some("x"));
        assert!(matches!(wish.rotate, Some(Rotate::One(tenant)) if tenant == "t"));
        assert_eq!((wish.keep_old, wish.down), (Some(true), Some(true)));
    }

    #[test]
    fn null_ends_what_silence_leaves() {
        let (change, _) = parse(br#"{"status":null,"lie":null}"#).unwrap();
        assert_eq!((change.status, change.lie), (Some(None), Some(None)));
        let (change, wish) = parse(br#"{"rotate":true}"#).unwrap();
        assert!(change.status.is_none() && change.lie.is_none() && change.delay.is_none());
        assert!(matches!(wish.rotate, Some(Rotate::All(true))));
    }

    #[test]
    fn typing_errors_are_refused() {
        for bad in [
            "",
            "[]",
            r#"{"slow":1}"#,
            r#"{"lie":"white"}"#,
            r#"{"rotate":1}"#,
            r#"{"keep_old":true}"#,
            r#"{"status":99}"#,
            r#"{"status":600}"#,
            r#"{"mint":{}}"#,
            r#"{"mint":{"tenant":"t","claim":{}}}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
