//! Randomness: correlation ids, trace ids, parent ids, jitter.

use crate::stages::correlation::Entropy;
use uuid::Uuid;

/// What a request's correlation needs.
pub fn for_request() -> Entropy {
    let mut id = [0; 36];
    Uuid::now_v7().hyphenated().encode_lower(&mut id);
    Entropy { id, trace_id: rand::random() }
}

/// A parent id for one attempt.
pub fn for_attempt() -> u64 {
    rand::random()
}

/// A number from 0 to 1, the latter left out: for waits that nobody shall share.
pub fn fraction() -> f64 {
    rand::random()
}
