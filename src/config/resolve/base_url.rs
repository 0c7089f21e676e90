//! A vendor's base URL, from text.

use super::names::{is_host, path_fault};
use crate::model::base_url::BaseUrl;
use std::net::{Ipv4Addr, Ipv6Addr};

impl BaseUrl {
    /// Takes a base URL apart: https, or http on a loopback host; no user, query or fragment.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence that begins with "it". The URL itself is not
    /// quoted: it could hold a password.
    pub fn parse(text: &str) -> Result<BaseUrl, String> {
        let (scheme, rest) = text.split_once("://").ok_or("has to begin with `https://`")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("has to begin with `https://`".to_owned()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (place, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if place.contains('@') {
            return Err("can't hold a user name or a password: write `credential`".to_owned());
        }
        if path.contains(['?', '#']) {
            return Err("can't hold a query or a fragment".to_owned());
        }
        let (host, bracketed, port) = split_place(place)?;
        if !https && !is_loopback(&host) {
            return Err("has to be https: only a loopback host may go without".to_owned());
        }
        // `https://example.com/` is what browsers and consoles show.
        let path = if path == "/" { "" } else { path.strip_suffix('/').unwrap_or(path) };
        if path == "/" {
            return Err("has a path that can't be used: it is an empty segment".to_owned());
        }
        if let Some(fault) = path_fault(path).filter(|_| !path.is_empty()) {
            return Err(format!("has a path that can't be used: {fault}"));
        }
        let usual = if https { 443 } else { 80 };
        let port = port.unwrap_or(usual);
        let authority = if port == usual { bracketed } else { format!("{bracketed}:{port}") };
        Ok(BaseUrl { https, host, port, authority, path: path.to_owned() })
    }
}

/// What keeps the text from being the address of something that we ask, as the rest of a sentence
/// that begins with "it"; a query is legal.
pub fn url_fault(text: &str) -> Option<String> {
    if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("holds a fragment, or a character that has to be escaped".to_owned());
    }
    BaseUrl::parse(text.split('?').next().unwrap_or_default()).err()
}

/// Host, the host as it stands in `Host`, and the port if one was typed.
fn split_place(place: &str) -> Result<(String, String, Option<u16>), String> {
    let no_host = || "has no usable host name or address".to_owned();
    let (host, bracketed, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(no_host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| no_host())?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(no_host()),
            };
            (address.to_string(), format!("[{address}]"), port)
        }
        None => {
            let (host, port) = match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            };
            let host = host.to_ascii_lowercase();
            let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            if !is_host(&host) || (numeric && host.parse::<Ipv4Addr>().is_err()) {
                return Err(no_host());
            }
            (host.clone(), host, port)
        }
    };
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err("has a port that is no number from 1 to 65535".to_owned()),
    });
    Ok((host, bracketed, port.transpose()?))
}

fn is_loopback(host: &str) -> bool {
    let v4 = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let v6 = host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || v4 || v6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        for (text, https, host, port, authority, path) in [
            ("https://a.example.com", true, "a.example.com", 443, "a.example.com", ""),
            ("HTTPS://A.Example.com/", true, "a.example.com", 443, "a.example.com", ""),
            ("https://a.com:8443/api/v2/", true, "a.com", 8443, "a.com:8443", "/api/v2"),
            ("https://a.com:443/x", true, "a.com", 443, "a.com", "/x"),
            ("http://127.0.0.1:80", false, "127.0.0.1", 80, "127.0.0.1", ""),
            ("http://127.9.9.9:81", false, "127.9.9.9", 81, "127.9.9.9:81", ""),
            ("http://localhost:81", false, "localhost", 81, "localhost:81", ""),
            ("http://[::1]:81/a", false, "::1", 81, "[::1]:81", "/a"),
            ("https://[2001:DB8::1]", true, "2001:db8::1", 443, "[2001:db8::1]", ""),
        ] {
            let url = BaseUrl::parse(text).expect(text);
            let expected = (https, host, port, authority, path);
            let found = (url.https, &*url.host, url.port, &*url.authority, &*url.path);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_without_quoting_it() {
        for text in [
            "",
            "a.example.com",
            "ftp://a.com",
            "http://a.com",
            "http://127.0.0.1.a.com",
            "http://[::2]",
            "https://",
            "https://:443",
            "https://user:hunter2@a.com",
            "https://a.com?hunter2",
            "https://a.com/x?hunter2",
            "https://a.com/#hunter2",
            "https://a.com:0",
            "https://a.com:+1",
            "https://a.com:99999",
            "https://a.com:",
            "https://a.com//",
            "https://a.com/a//b",
            "https://a.com/a/../b",
            "https://a.com/%2e",
            "https://a com",
            "https://1.2.3",
            "https://[::1",
            "https://[::1]x",
            "https://[fe80::1%25eth0]",
        ] {
            let message = BaseUrl::parse(text).expect_err(text);
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
