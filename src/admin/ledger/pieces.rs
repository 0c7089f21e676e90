//! A body that is made piece by piece, as fast as it is taken; one that breaks off is never taken
//! for a whole one.

use crate::adapters::ledger::entry::Trouble;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces that wait to be taken.
const WAITING: usize = 2;
/// How long one may wait.
const STALL: Duration = Duration::from_secs(60);

/// What comes in pieces.
pub trait Source: Send + 'static {
    /// The next piece; `None`: that was all. Blocks.
    ///
    /// # Errors
    /// Why there is none.
    fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble>;
}

/// A body of all its pieces.
pub fn body(mut source: impl Source) -> Body {
    let (tell, told) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let made = tokio::task::spawn_blocking(move || (source.more(), source)).await;
            let Ok((piece, back)) = made else { return };
            source = back;
            let last = !matches!(piece, Ok(Some(_)));
            let piece = piece.map(|piece| piece.map(Bytes::from));
            let taken = tokio::time::timeout(STALL, tell.send(piece)).await;
            if last || !matches!(taken, Ok(Ok(()))) {
                return;
            }
        }
    });
    Body::new(Pieces { told, ended: false })
}

struct Pieces {
    told: mpsc::Receiver<Result<Option<Bytes>, Trouble>>,
    ended: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Trouble>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = match ready!(self.told.poll_recv(context)) {
            Some(Ok(Some(octets))) => return Poll::Ready(Some(Ok(Frame::data(octets)))),
            Some(Ok(None)) => None,
            Some(Err(trouble)) => Some(Err(trouble)),
            // Nobody makes the rest any more.
            None => Some(Err(Trouble::Closed)),
        };
        self.ended = true;
        Poll::Ready(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    struct Counting(u8, Option<Trouble>);

    impl Source for Counting {
        fn more(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
            self.0 += 1;
            match (self.0, self.1.take()) {
                (1..=3, trouble) => {
                    self.1 = trouble;
                    Ok(Some(vec![self.0]))
                }
                (_, Some(trouble)) => Err(trouble),
                _ => Ok(None),
            }
        }
    }

    #[tokio::test]
    async fn all_pieces_come_and_a_break_is_one() {
        let whole = body(Counting(0, None)).collect().await.expect("whole");
        assert_eq!(&whole.to_bytes()[..], [1, 2, 3]);
        assert!(body(Counting(0, Some(Trouble::Full))).collect().await.is_err());
        let (tell, told) = mpsc::channel(1);
        drop(tell);
        assert!(Body::new(Pieces { told, ended: false }).collect().await.is_err());
    }
}
