//! A vendor's base URL, taken apart.

/// Where a vendor lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`, or `http` on a loopback address.
    pub https: bool,
    /// Host name or address, lower case, an IPv6 address without brackets.
    pub host: String,
    /// Port, the scheme's own if none was typed.
    pub port: u16,
    /// The `Host` to send: host, and the port unless it is the scheme's own.
    pub authority: String,
    /// Prepended to each path: empty, or begins with `/` and does not end with one.
    pub path: String,
}
