//! The nouns that every other module speaks of: values, without a door to the world.

pub mod base_url;
pub mod methods;
pub mod path;
pub mod secret;
pub mod size;
pub mod time;
