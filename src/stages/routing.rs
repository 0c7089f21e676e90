//! Decides which route a request takes: exact host first, then the longest path prefix on a
//! segment boundary.
//!
//! Never looks at more than host, path and method. Refuses with `route-not-found`,
//! `path-ambiguous`, `method-not-allowed`. Gives [`Match`].

use crate::model::methods::MethodSet;
use crate::model::percent;
use crate::refusal::Refusal;

/// The compiled routes; a route is named by its index in the order of the file.
#[derive(Debug, Default)]
pub struct Table {
    /// Longest prefix first within a host, hosts before no host.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    host: Option<String>,
    prefix: String,
    route: usize,
}

/// The route that serves a request, and what is left of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    route: usize,
    prefix_length: usize,
}

impl Match {
    /// Index of the route.
    pub fn route(self) -> usize {
        self.route
    }

    /// The path after the route's prefix, byte for byte; empty for the prefix alone.
    pub fn rest(self, path: &str) -> &str {
        path.get(self.prefix_length..).unwrap_or("")
    }
}

impl Entry {
    fn serves(&self, authority: Option<&str>) -> bool {
        let Some(wanted) = &self.host else { return true };
        authority.is_some_and(|authority| host_of(authority).eq_ignore_ascii_case(wanted))
    }
}

impl Table {
    /// Compiles routes, given in file order as host and prefix. Both are as `Route` holds them:
    /// lower-case host without port; prefix without trailing slash.
    pub fn new<'a>(routes: impl IntoIterator<Item = (Option<&'a str>, &'a str)>) -> Table {
        let mut entries: Vec<Entry> = routes
            .into_iter()
            .enumerate()
            .map(|(route, (host, prefix))| Entry {
                host: host.map(str::to_owned),
                prefix: prefix.to_owned(),
                route,
            })
            .collect();
        entries.sort_by_key(|e| (e.host.is_none(), std::cmp::Reverse(e.prefix.len())));
        Table { entries }
    }

    /// Finds the route; `authority` is `Host` or `:authority` as it was received.
    ///
    /// # Errors
    /// `route-not-found`.
    pub fn route(&self, authority: Option<&str>, path: &str) -> Result<Match, Refusal> {
        self.entries
            .iter()
            .filter(|entry| entry.serves(authority))
            .find(|entry| is_prefix(&entry.prefix, path))
            .map(|entry| Match { route: entry.route, prefix_length: entry.prefix.len() })
            .ok_or(Refusal::RouteNotFound)
    }
}

/// Whether a vendor that compares without regard to case, or decodes before it looks, would see
/// another route's prefix in the path.
///
/// # Errors
/// `path-ambiguous`.
pub fn check_spelling(
    table: &Table,
    found: Match,
    authority: Option<&str>,
    path: &str,
) -> Result<(), Refusal> {
    // Nearly every path is spelled in one way only.
    if !path.bytes().any(|octet| octet == b'%' || octet.is_ascii_uppercase()) {
        return Ok(());
    }
    let plain = String::from_utf8_lossy(&percent::decode(path)).to_lowercase();
    let mut entries = table.entries.iter().filter(|entry| entry.serves(authority));
    let other = entries.find(|entry| is_prefix(&entry.prefix.to_lowercase(), &plain));
    match other {
        Some(other) if other.route != found.route => {
            Err(Refusal::PathAmbiguous("Spelled otherwise, the path leads to another route."))
        }
        _ => Ok(()),
    }
}

/// Checks the method against the route's.
///
/// # Errors
/// `method-not-allowed`.
pub fn check_method(allowed: MethodSet, method: &str) -> Result<(), Refusal> {
    if allowed.contains(method) { Ok(()) } else { Err(Refusal::MethodNotAllowed(allowed)) }
}

/// The host of an authority: `example.com:80` → `example.com`, `[::1]:80` → `[::1]`. A name may
/// end with the root's dot (RFC 1034 §3.1), which is no part of it: `example.com.` is the same.
pub fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

fn is_prefix(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new([
            (None, "/netsuite"),
            (None, "/netsuite/v2"),
            (Some("ns.example.com"), ""),
            (Some("ns.example.com"), "/admin"),
        ])
    }

    #[test]
    fn finds_host_first_then_the_longest_prefix() {
        for (authority, path, expected) in [
            (None, "/netsuite/a", Some((0, "/a"))),
            (None, "/netsuite", Some((0, ""))),
            (None, "/netsuite/", Some((0, "/"))),
            (None, "/netsuite2", None),
            (None, "/Netsuite", None),
            (None, "/netsuite/v2/x", Some((1, "/x"))),
            (None, "/netsuite/v22/x", Some((0, "/v22/x"))),
            (Some("NS.example.com:8443"), "/netsuite/a", Some((2, "/netsuite/a"))),
            (Some("ns.example.com"), "/admin/a", Some((3, "/a"))),
            (Some("ns.example.com."), "/admin/a", Some((3, "/a"))),
            (Some("other.example.com"), "/", None),
            (Some("[::1]:80"), "/netsuite/a", Some((0, "/a"))),
        ] {
            let found = table().route(authority, path).ok();
            let found = found.map(|found| (found.route(), found.rest(path)));
            assert_eq!(found, expected, "{authority:?} {path}");
        }
    }

    #[test]
    fn a_spelling_does_not_choose_the_route() {
        let table = table();
        for (authority, path, fine) in [
            (None, "/netsuite/v2/x", true),
            (None, "/netsuite/A%20b", true),
            (None, "/netsuite/%762/x", false),
            (None, "/netsuite/V2/x", false),
            (None, "/netsuite/v2%2Fx", false),
            (Some("ns.example.com"), "/Admin/x", false),
            (Some("ns.example.com"), "/other/X", true),
        ] {
            let found = table.route(authority, path).expect(path);
            let checked = check_spelling(&table, found, authority, path);
            assert_eq!(checked.is_ok(), fine, "{path}");
        }
    }

    #[test]
    fn refuses_other_methods() {
        let get = MethodSet::of(["GET"]).expect("served");
        assert_eq!(check_method(get, "GET"), Ok(()));
        assert_eq!(check_method(get, "POST"), Err(Refusal::MethodNotAllowed(get)));
    }
}
