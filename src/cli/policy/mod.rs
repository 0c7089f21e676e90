//! `erpgate policy …`: what the policies mean, before anybody merges them.

pub mod cases;
pub mod changes;
pub mod diff;
pub mod matrix;
pub mod regions;

#[cfg(test)]
mod tests;
