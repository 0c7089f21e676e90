//! The nouns that every other module speaks of: values, without a door to the world.

pub mod address;
pub mod base_url;
pub mod days;
pub mod digest;
pub mod limits;
pub mod methods;
pub mod moment;
pub mod path;
pub mod percent;
pub mod query;
pub mod rates;
pub mod scopes;
pub mod secret;
pub mod size;
pub mod time;
