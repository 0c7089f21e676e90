//! Reads what a tenant is to be, and refuses what it can't be.

use std::io;

use super::keys::Algorithm;
use super::shape::Shape;

/// A tenant of the provider, as asked for.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name, the first segment of its paths.
    pub name: String,
    /// `iss` of its tokens and metadata; `None` for the tenant's own URL.
    pub issuer: Option<String>,
    /// `aud` of its tokens: a text if it is one, a list if there are several, absent if none.
    pub audiences: Vec<String>,
    /// Whose access tokens its own look like: `rfc9068`, `entra`, `auth0`, `keycloak`, `okta` or
    /// `plain`.
    pub shape: String,
    /// The signing algorithms that it has keys for, of `RS256`, `PS256`, `ES256`, `ES384` and
    /// `EdDSA`. The first one signs by default.
    pub algorithms: Vec<String>,
}

/// A tenant that can be.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// `iss`; `None` for the tenant's own URL.
    pub issuer: Option<String>,
    /// `aud`.
    pub audiences: Vec<String>,
    /// Whose tokens its own look like.
    pub shape: Shape,
    /// At least one.
    pub algorithms: Vec<Algorithm>,
}

/// Checks the tenants.
///
/// # Errors
/// With the name of the tenant and what is wrong with it.
pub fn profiles(tenants: Vec<Tenant>) -> io::Result<Vec<Profile>> {
    let mut profiles: Vec<Profile> = Vec::new();
    for tenant in tenants {
        let name = tenant.name.clone();
        let again = profiles.iter().any(|profile| profile.name == name);
        let profile =
            if again { Err("there are two of that name".to_owned()) } else { profile(tenant) };
        profiles.push(profile.map_err(|what| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("tenant `{name}`: {what}"))
        })?);
    }
    Ok(profiles)
}

fn profile(tenant: Tenant) -> Result<Profile, String> {
    let Tenant { name, issuer, audiences, shape, algorithms } = tenant;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    // A dot in front is kept for `.well-known`, an underscore for `_sandbox`.
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        return Err("a name has letters, digits, hyphens and dots".to_owned());
    }
    let shape = Shape::named(&shape).ok_or(format!("there is no shape `{shape}`"))?;
    let algorithms = algorithms
        .iter()
        .map(|name| Algorithm::named(name).ok_or(format!("there is no algorithm `{name}`")))
        .collect::<Result<Vec<_>, _>>()?;
    if algorithms.is_empty() {
        return Err("it needs an algorithm".to_owned());
    }
    Ok(Profile { name, issuer, audiences, shape, algorithms })
}

#[cfg(test)]
mod tests {
    use super::{Tenant, profiles};

    fn tenant(name: &str, shape: &str, algorithms: &[&str]) -> Tenant {
        Tenant {
            name: name.to_owned(),
            issuer: None,
            audiences: Vec::new(),
            shape: shape.to_owned(),
            algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn good_tenants_are_taken() {
        let tenants =
            vec![tenant("a", "okta", &["ES256", "RS256"]), tenant("b-1.x", "plain", &["EdDSA"])];
        assert_eq!(profiles(tenants).unwrap().len(), 2);
    }

    #[test]
    fn bad_tenants_are_refused_by_name() {
        let good = tenant("a", "okta", &["ES256"]);
        for (bad, what) in [
            (tenant("", "okta", &["ES256"]), "tenant ``: a name has"),
            (tenant(".well-known", "okta", &["ES256"]), "a name has"),
            (tenant("_sandbox", "okta", &["ES256"]), "a name has"),
            (tenant("a/b", "okta", &["ES256"]), "a name has"),
            (tenant("b", "Okta", &["ES256"]), "no shape `Okta`"),
            (tenant("b", "okta", &["HS256"]), "no algorithm `HS256`"),
            (tenant("b", "okta", &[]), "needs an algorithm"),
            (tenant("a", "plain", &["RS256"]), "tenant `a`: there are two"),
        ] {
            let error = profiles(vec![good.clone(), bad]).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
