//! Rewrites a vendor's links so that a client stays on the gateway.

use crate::model::base_url::BaseUrl;

/// Where a client sees the vendor: the gateway's own origin and the route's prefix.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whether the client's connection is encrypted.
    pub https: bool,
    /// The authority that the client asked for.
    pub authority: &'a str,
    /// The route's prefix, without trailing slash.
    pub prefix: &'a str,
}

/// A link of the vendor's as the client has to see it; `None`: it leads out of the base URL.
///
/// An absolute link stays absolute, an absolute path stays one, a relative one is kept as it is.
pub fn rewrite(link: &str, base: &BaseUrl, place: Place<'_>) -> Option<String> {
    // Browsers leave out tabs and line ends wherever they stand: another link would be left.
    if link.bytes().any(|octet| octet.is_ascii_control() || octet == b' ') {
        return None;
    }
    if let Some(rest) = link.strip_prefix("//") {
        let scheme = if base.https { "https" } else { "http" };
        return rewrite(&format!("{scheme}://{rest}"), base, place);
    }
    if link.starts_with('/') {
        let rewritten = format!("{}{}", place.prefix, within(link, &base.path)?);
        // Two slashes would begin another authority.
        return Some(rewritten).filter(|link| !link.starts_with("//"));
    }
    let Some((scheme, rest)) = link.split_once("://").filter(|(s, _)| is_scheme(s)) else {
        // A relative link resolves below the request's own path, unless it climbs out of it.
        return is_harmless_relative(link).then(|| link.to_owned());
    };
    if !scheme.eq_ignore_ascii_case(if base.https { "https" } else { "http" }) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    if !is_base_authority(authority, base) {
        return None;
    }
    let scheme = if place.https { "https" } else { "http" };
    let path = within(path, &base.path)?;
    Some(format!("{scheme}://{}{}{path}", place.authority, place.prefix))
}

/// The targets of a `Link` field (RFC 8288 §3), each rewritten where it leads into the base URL.
pub fn rewrite_link_field(field: &str, base: &BaseUrl, place: Place<'_>) -> String {
    let mut written = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((target, behind)) = after.split_once('>') else { break };
        written.push_str(before);
        written.push('<');
        written.push_str(&rewrite(target, base, place).unwrap_or_else(|| target.to_owned()));
        written.push('>');
        rest = behind;
    }
    written.push_str(rest);
    written
}

/// What stands behind the base URL's path, which has to end on a segment boundary.
fn within<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(base)?;
    let at_boundary = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    // Behind dot segments the place a link leads to is not the one it seems to.
    let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
    let climbs = has_dots(rest.get(..path_end)?);
    (at_boundary && !climbs && !rest.contains('\\')).then_some(rest)
}

/// Whether a path holds a dot segment, plain or encoded.
fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| {
        matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    })
}

fn is_base_authority(authority: &str, base: &BaseUrl) -> bool {
    let default_port = if base.https { ":443" } else { ":80" };
    let trimmed = authority.strip_suffix(default_port).unwrap_or(authority);
    trimmed.eq_ignore_ascii_case(&base.authority)
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_harmless_relative(link: &str) -> bool {
    let path = link.split(['?', '#']).next().unwrap_or("");
    // `javascript:` and its kin have a scheme without slashes.
    !path.contains([':', '\\']) && !has_dots(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(path: &str) -> BaseUrl {
        BaseUrl {
            https: true,
            host: "v.example.com".into(),
            port: 443,
            authority: "v.example.com".into(),
            path: path.into(),
        }
    }

    const PLACE: Place<'static> =
        Place { https: false, authority: "127.0.0.1:8080", prefix: "/netsuite" };

    #[test]
    fn links_into_the_base_url_stay_on_the_gateway() {
        for (path, link, expected) in [
            ("", "https://v.example.com/r/7", Some("http://127.0.0.1:8080/netsuite/r/7")),
            (
                "",
                "https://V.example.com:443/r?a=1#x",
                Some("http://127.0.0.1:8080/netsuite/r?a=1#x"),
            ),
            ("", "https://v.example.com", Some("http://127.0.0.1:8080/netsuite")),
            ("/api", "https://v.example.com/api/7", Some("http://127.0.0.1:8080/netsuite/7")),
            ("/api", "https://v.example.com/apis/7", None),
            ("/api", "/api/7", Some("/netsuite/7")),
            ("/api", "/other", None),
            ("", "/r/7", Some("/netsuite/r/7")),
            ("", "/r//7", Some("/netsuite/r//7")),
            ("", "//v.example.com/r", Some("http://127.0.0.1:8080/netsuite/r")),
            ("", "//evil.example.com/r", None),
            ("", "https://v.example.com@evil.example.com/", None),
            ("", "https://v.example.com.evil.example.com/", None),
            ("", "http://v.example.com/r", None),
            ("", "https://v.example.com:8443/r", None),
            ("/api", "https://v.example.com/api/../admin", None),
            ("/api", "/api/%2e%2e/admin", None),
            ("", "7?x=1", Some("7?x=1")),
            ("", "../7", None),
            ("", "javascript:alert(1)", None),
            ("", "/\t/evil.example.com", None),
            ("", "%2e%2e/%2E./admin", None),
            ("", ".\t./x", None),
        ] {
            assert_eq!(rewrite(link, &base(path), PLACE).as_deref(), expected, "{path} {link}");
        }
    }

    #[test]
    fn link_fields_are_rewritten_target_by_target() {
        let field = "<https://v.example.com/r?page=2>; rel=\"next\", <https://other.test/>; rel=x";
        assert_eq!(
            rewrite_link_field(field, &base(""), PLACE),
            "<http://127.0.0.1:8080/netsuite/r?page=2>; rel=\"next\", <https://other.test/>; rel=x"
        );
        assert_eq!(rewrite_link_field("<broken", &base(""), PLACE), "<broken");
    }
}
