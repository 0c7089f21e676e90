//! Guards a value with a mutex that goes on after a panic elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a lock that is held only between two awaits, never across one.
#[derive(Debug, Default)]
pub struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Guarded<T> {
        Guarded(Mutex::new(value))
    }

    /// Waits for the value.
    ///
    /// A poisoned lock is taken as it is: a connection that panicked is one failed test, not a
    /// reason to fail all the others.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
