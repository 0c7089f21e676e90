//! Reads request bodies: whole up to a limit, or only counted.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than allowed.
    TooLong,
    /// The client broke off or sent bad framing.
    Broken,
}

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
/// [`Unread::TooLong`] before the first byte is read if the length is announced.
pub async fn read<B>(body: B, bytes_max: u64) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > bytes_max {
        return Err(Unread::TooLong);
    }
    let mut read = BytesMut::new();
    visit(body, bytes_max, |piece| read.extend_from_slice(piece)).await?;
    Ok(read.freeze())
}

/// Reads and forgets a body of at most `bytes_max` bytes, and says how long it was.
///
/// # Errors
/// As [`read`], except that the limit is met only when it is.
pub async fn count<B>(body: B, bytes_max: u64) -> Result<u64, Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    visit(body, bytes_max, |_| {}).await
}

/// Shows `see` every piece of a body of at most `bytes_max` bytes, and says how long it was.
///
/// # Errors
/// As [`count`].
pub async fn visit<B>(
    mut body: B,
    bytes_max: u64,
    mut see: impl FnMut(&[u8]),
) -> Result<u64, Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        // Trailers carry nothing that a simulator books.
        if let Ok(piece) = frame.map_err(|_| Unread::Broken)?.into_data() {
            length = length.saturating_add(piece.len() as u64);
            if length > bytes_max {
                return Err(Unread::TooLong);
            }
            see(&piece);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::{Unread, count, read};
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::Frame;

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read_and_a_longer_one_is_not() {
        let body = |text: &'static str| Full::new(Bytes::from(text));
        assert_eq!(read(body("12345"), 5).await, Ok(Bytes::from("12345")));
        assert_eq!(read(body("123456"), 5).await, Err(Unread::TooLong));
        assert_eq!(count(body("12345"), 5).await, Ok(5));
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_stopped_at_the_limit() {
        struct Pieces(u32);
        impl hyper::body::Body for Pieces {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                self.0 += 1;
                assert!(self.0 < 4, "reading went on after the limit");
                std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
            }
        }
        assert_eq!(read(Pieces(0), 5).await, Err(Unread::TooLong));
    }
}
