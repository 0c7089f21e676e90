//! Methods: which ones erpgate serves, sets of them, and what may become a metric label.

/// The methods that erpgate can serve, in the order in which `Allow` lists them.
pub const SERVED: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Methods that are registered but that no route can serve: TRACE echoes credentials, CONNECT
/// asks for a tunnel (RFC 9110 §9.3.6, §9.3.8), the rest belong to WebDAV and its kin.
/// Source: IANA "HTTP Method Registry".
const REGISTERED_ONLY: [&str; 33] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Whether the method is in the registry at all: an unregistered one is answered 501.
pub fn is_registered(method: &str) -> bool {
    SERVED.contains(&method) || REGISTERED_ONLY.contains(&method)
}

/// The method as a metric label: its name if it is registered, else `other`.
pub fn label(method: &str) -> &'static str {
    SERVED
        .iter()
        .chain(&REGISTERED_ONLY)
        .find(|known| **known == method)
        .copied()
        .unwrap_or("other")
}

/// Whether the method is safe by definition (RFC 9110 §9.2.1): repeating it changes nothing.
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// A set of the methods that erpgate can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSet(u8);

impl MethodSet {
    /// Every method that erpgate can serve.
    pub const ALL: MethodSet = MethodSet((1 << SERVED.len()) - 1);

    /// The set of the given methods, or the first one that no route can serve.
    ///
    /// # Errors
    /// The method that can't be served.
    pub fn of<'a>(methods: impl IntoIterator<Item = &'a str>) -> Result<MethodSet, &'a str> {
        methods.into_iter().try_fold(MethodSet(0), |set, method| match bit(method) {
            0 => Err(method),
            bit => Ok(MethodSet(set.0 | bit)),
        })
    }

    /// Whether the set holds the method.
    pub fn contains(self, method: &str) -> bool {
        self.0 & bit(method) != 0
    }

    /// The methods in the set, in the order of [`SERVED`].
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        SERVED.into_iter().filter(move |method| self.contains(method))
    }

    /// The value of an `Allow` field (RFC 9110 §10.2.1).
    pub fn allow(self) -> String {
        self.iter().collect::<Vec<_>>().join(", ")
    }
}

fn bit(method: &str) -> u8 {
    SERVED.iter().position(|served| *served == method).map_or(0, |index| 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_given() {
        let set = MethodSet::of(["POST", "GET"]).expect("both can be served");
        assert!(set.contains("GET") && set.contains("POST") && !set.contains("PUT"));
        assert_eq!(set.allow(), "GET, POST");
        assert_eq!(MethodSet::of(["GET", "TRACE"]), Err("TRACE"));
        assert_eq!(MethodSet::ALL.iter().count(), SERVED.len());
    }

    #[test]
    fn labels_are_bounded() {
        assert_eq!(label("GET"), "GET");
        assert_eq!(label("TRACE"), "TRACE");
        assert_eq!(label("get"), "other");
        assert_eq!(label("BREW"), "other");
        assert!(!is_registered("BREW"));
    }

    #[test]
    fn semantics_of_methods() {
        assert!(is_safe("HEAD") && !is_safe("PUT"));
    }
}
