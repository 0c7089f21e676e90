//! Writes, byte for byte, the answers that a well-behaved HTTP server would never write.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answer::{Answer, Media};
use super::connection;
use super::faults::{Fault, Mode};
use super::slot::Slot;

/// Pause between two bytes of a slow answer.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// What stands in for the body of an answer that has none, in modes that need one to cut.
const STAND_IN: &str = r#"{"sandbox":"NetSuite's own answer would have had no body here"}"#;

/// Not the beginning of any HTTP answer.
const GARBAGE: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28 this is not HTTP\r\n\r\n";

/// The answer to an upgrade that was never asked for.
const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: sandbox\r\n\r\n";

/// Bytes to write and a way to end, once a handler has handed its connection over.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    pace: Option<Duration>,
    ending: Ending,
    /// Given back before the last byte, as with any answer.
    slot: Option<Slot>,
}

/// How a scripted connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// With a FIN.
    Finish,
    /// With a RST.
    Reset,
    /// When the client goes.
    Stay,
}

impl Script {
    /// Says nothing and resets.
    pub fn reset() -> Script {
        Script::new(Vec::new(), Ending::Reset)
    }

    /// Announces the whole answer, sends half of its body, and closes.
    pub fn half(answer: &Answer) -> Script {
        let answer = with_body(answer);
        let mut bytes = head(&answer, &[("content-length", answer.body.len())]);
        bytes.extend(first_half(&answer.body));
        Script::new(bytes, Ending::Finish)
    }

    fn new(bytes: Vec<u8>, ending: Ending) -> Script {
        Script { bytes, pace: None, ending, slot: None }
    }

    /// Lets the script keep the request's slot for as long as it is answering.
    pub fn holding(self, slot: Slot) -> Script {
        Script { slot: Some(slot), ..self }
    }

    /// How `fault` spoils an answer that was decided; `None` for a fault that is not
    /// about the answer's bytes.
    pub fn spoil(fault: &Fault, answer: &Answer) -> Option<Script> {
        let length = answer.body.len();
        let finish = |bytes| Script::new(bytes, Ending::Finish);
        Some(match fault.mode {
            Mode::ResetAfter => Script::reset(),
            Mode::Half => Script::half(answer),
            Mode::HalfHead => {
                let bytes = head(answer, &[("content-length", length)]);
                finish(first_half(&bytes).to_vec())
            }
            Mode::HalfChunked => {
                let answer = with_body(answer).with(http::header::TRANSFER_ENCODING, "chunked");
                let mut bytes = head(&answer, &[]);
                let half = first_half(&answer.body);
                bytes.extend(format!("{:x}\r\n", half.len()).bytes());
                bytes.extend(half);
                bytes.extend(b"\r\n");
                finish(bytes)
            }
            Mode::SlowHead => Script { pace: Some(SLOW_PAUSE), ..finish(whole(answer)) },
            Mode::Garbage => finish(GARBAGE.to_vec()),
            Mode::Unasked101 => Script::new(SWITCHING.to_vec(), Ending::Stay),
            Mode::ConflictingLengths => {
                let answer = with_body(answer);
                let length = answer.body.len();
                let lengths = [("content-length", length), ("content-length", length + 7)];
                let mut bytes = head(&answer, &lengths);
                bytes.extend(&answer.body);
                finish(bytes)
            }
            Mode::ObsFold => {
                let mut bytes = status_line(answer.status);
                bytes.extend(b"x-folded: one\r\n two\r\n");
                bytes.extend(fields(&answer.headers, &length_of(answer)));
                bytes.extend(&answer.body);
                finish(bytes)
            }
            Mode::BadStatus => {
                let mut bytes =
                    format!("HTTP/1.1 {} Strange\r\n", fault.status.unwrap_or(999)).into_bytes();
                bytes.extend(fields(&answer.headers, &[("content-length", length)]));
                bytes.extend(&answer.body);
                finish(bytes)
            }
            Mode::CloseIdle => finish(whole(answer)),
            Mode::Refuse
            | Mode::Hang
            | Mode::HangAfter
            | Mode::ResetBefore
            | Mode::Status
            | Mode::Redirect => return None,
        })
    }

    /// Plays the script to its end.
    pub async fn play(mut self, mut stream: TcpStream) {
        if self.write(&mut stream).await.is_err() {
            // The client is gone; so are we.
            return;
        }
        match self.ending {
            Ending::Finish => connection::close(stream).await,
            Ending::Stay => connection::drain(&mut stream).await,
            Ending::Reset => {
                // With no linger time, closing sends a reset. Should it not take, the client
                // still sees a connection that ends without an answer.
                let _ = stream.set_zero_linger();
            }
        }
    }

    async fn write(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        let Some((last, all_but_last)) = self.bytes.split_last() else {
            return Ok(());
        };
        match self.pace {
            None => stream.write_all(all_but_last).await?,
            Some(pace) => {
                for byte in all_but_last {
                    stream.write_u8(*byte).await?;
                    tokio::time::sleep(pace).await;
                }
            }
        }
        self.slot = None;
        stream.write_u8(*last).await
    }
}

/// The answer itself, or with a stand-in body: a 204 has nothing that could be cut in half.
fn with_body(answer: &Answer) -> Answer {
    if !answer.body.is_empty() {
        return answer.clone();
    }
    let mut stand_in = Answer::text(StatusCode::OK, Media::Singular, STAND_IN);
    stand_in.headers.extend(answer.headers.clone());
    stand_in
}

fn first_half(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len() / 2).unwrap_or_default()
}

/// A 204 must not announce a length (RFC 9110 §8.6).
fn length_of(answer: &Answer) -> Vec<(&'static str, usize)> {
    match answer.status {
        StatusCode::NO_CONTENT => Vec::new(),
        _ => vec![("content-length", answer.body.len())],
    }
}

fn whole(answer: &Answer) -> Vec<u8> {
    let mut bytes = head(answer, &length_of(answer));
    bytes.extend(&answer.body);
    bytes
}

fn head(answer: &Answer, lengths: &[(&str, usize)]) -> Vec<u8> {
    let mut bytes = status_line(answer.status);
    bytes.extend(fields(&answer.headers, lengths));
    bytes
}

fn status_line(status: StatusCode) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes()
}

fn fields(headers: &HeaderMap, lengths: &[(&str, usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.extend(name.as_str().bytes());
        bytes.extend(b": ");
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    for (name, length) in lengths {
        bytes.extend(format!("{name}: {length}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Ending, Script};
    use crate::sandbox::answer::{Answer, Media};
    use crate::sandbox::faults::{Fault, Mode};
    use http::StatusCode;

    fn spoiled(mode: Mode, answer: &Answer) -> (String, Ending) {
        let script = Script::spoil(&Fault { mode, status: None, html: false }, answer).unwrap();
        (String::from_utf8_lossy(&script.bytes).into_owned(), script.ending)
    }

    fn ten() -> Answer {
        Answer::text(StatusCode::OK, Media::Json, "0123456789")
    }

    const TYPE: &str = "content-type: application/json\r\n";

    #[test]
    fn each_way_of_spoiling_has_its_bytes() {
        for (mode, bytes) in [
            (Mode::Half, format!("HTTP/1.1 200 OK\r\n{TYPE}content-length: 10\r\n\r\n01234")),
            (
                Mode::HalfChunked,
                format!(
                    "HTTP/1.1 200 OK\r\n{TYPE}transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n"
                ),
            ),
            (
                Mode::ConflictingLengths,
                format!(
                    "HTTP/1.1 200 OK\r\n{TYPE}content-length: 10\r\ncontent-length: 17\r\n\r\n\
                     0123456789"
                ),
            ),
            (
                Mode::ObsFold,
                format!(
                    "HTTP/1.1 200 OK\r\nx-folded: one\r\n two\r\n{TYPE}content-length: 10\r\n\r\n\
                     0123456789"
                ),
            ),
            (
                Mode::BadStatus,
                format!("HTTP/1.1 999 Strange\r\n{TYPE}content-length: 10\r\n\r\n0123456789"),
            ),
            (
                Mode::CloseIdle,
                format!("HTTP/1.1 200 OK\r\n{TYPE}content-length: 10\r\n\r\n0123456789"),
            ),
        ] {
            assert_eq!(spoiled(mode, &ten()), (bytes, Ending::Finish), "{mode:?}");
        }
    }

    #[test]
    fn an_empty_answer_gets_a_body_that_can_be_cut() {
        let (bytes, _) = spoiled(Mode::Half, &Answer::empty());
        assert!(bytes.starts_with("HTTP/1.1 200 OK\r\n"), "{bytes}");
        let (head, half) = bytes.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", super::STAND_IN.len())));
        assert_eq!(half.len(), super::STAND_IN.len() / 2);
        let (bytes, _) = spoiled(Mode::CloseIdle, &Answer::empty());
        assert_eq!(bytes, "HTTP/1.1 204 No Content\r\n\r\n");
    }

    #[test]
    fn faults_before_the_booking_spoil_nothing() {
        let fault = Fault { mode: Mode::Hang, status: None, html: false };
        assert!(Script::spoil(&fault, &ten()).is_none());
    }
}
