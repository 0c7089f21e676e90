//! Hands the listening sockets to a successor, so that a binary is replaced without a refused
//! connection.
//!
//! The running gateway listens on a socket in a private folder. A successor connects and gets one
//! message: the names of the listeners with their sockets beside it (`SCM_RIGHTS`). When it
//! serves it answers with one byte; only then the predecessor leaves. A successor that goes
//! without that byte has failed, and the predecessor serves on. After that byte both speak of the
//! vendors' slots (`handover_slots`) until one of them is gone.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Sockets that one message can carry on every system that we run on.
const SOCKETS_MAX: usize = 64;
/// Bytes of the names.
const NAMES_MAX: usize = 16 << 10;
/// How long a predecessor may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The successor's word that it serves.
const SERVING: u8 = b'!';

/// A listening socket under the name that the configuration gives it.
pub type Named = (String, TcpListener);

/// Opens the socket that a successor connects to, in a folder that only this user can enter.
///
/// # Errors
/// What the system says.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("something that is no socket is in its place")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket of a gateway that leaves without a successor.
pub fn forget(path: &Path) {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        // A next gateway removes what is left here.
        let _ = std::fs::remove_file(path);
    }
}

/// Gives a successor the sockets and waits for its word. Returns whether it serves.
///
/// # Errors
/// The successor can't be spoken with: it has failed.
pub fn give(successor: &mut UnixStream, sockets: &[Named], patience: Duration) -> io::Result<bool> {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join("\n");
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if fds.len() > SOCKETS_MAX || !beside.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("more listeners than can be handed over"));
    }
    sendmsg(&*successor, &[IoSlice::new(names.as_bytes())], &mut beside, SendFlags::empty())?;
    successor.set_read_timeout(Some(patience))?;
    let mut word = [0];
    let read = successor.read(&mut word)?;
    successor.set_read_timeout(None)?;
    Ok(read == 1 && word == [SERVING])
}

/// A predecessor that has given its sockets and waits for our word.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Tells it that we serve. What follows on the socket is about what both share until it is
    /// gone; its end says that it is.
    ///
    /// # Errors
    /// It is gone already.
    pub fn may_leave(mut self) -> io::Result<UnixStream> {
        self.0.write_all(&[SERVING])?;
        self.0.set_read_timeout(None)?;
        Ok(self.0)
    }
}

/// Takes the sockets over from the running gateway.
///
/// # Errors
/// Nobody listens there, or what comes is not what a gateway sends.
pub fn take(path: &Path) -> io::Result<(Vec<Named>, Predecessor)> {
    let predecessor = UnixStream::connect(path)?;
    predecessor.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut names = vec![0; NAMES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut names)];
    let received = recvmsg(&predecessor, into, &mut beside, RecvFlags::empty())?;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    names.truncate(received.bytes);
    let names = String::from_utf8(names).map_err(io::Error::other)?;
    let names: Vec<&str> = names.split('\n').filter(|name| !name.is_empty()).collect();
    if names.len() != fds.len() || names.is_empty() {
        return Err(io::Error::other("the running gateway sent something else than its listeners"));
    }
    let sockets = names.iter().map(|name| (*name).to_owned()).zip(fds.into_iter().map(Into::into));
    Ok((sockets.collect(), Predecessor(predecessor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_pass_from_one_to_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("private/handover.sock");
        let listener = listen(&path).expect("free");
        let mode = std::fs::metadata(path.parent().expect("a folder")).expect("made").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        let bound = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = bound.local_addr().expect("bound");
        let giving = std::thread::spawn(move || {
            let (mut successor, _) = listener.accept().expect("a successor");
            give(&mut successor, &[("a:1".into(), bound)], Duration::from_secs(5))
        });
        let (sockets, predecessor) = take(&path).expect("given");
        assert_eq!(sockets[0].0, "a:1");
        assert_eq!(sockets[0].1.local_addr().expect("the same"), address);
        predecessor.may_leave().expect("it waits");
        assert!(giving.join().expect("no panic").expect("spoken with"));
    }

    #[test]
    fn a_successor_that_dies_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("handover.sock");
        let listener = listen(&path).expect("free");
        let bound = TcpListener::bind("127.0.0.1:0").expect("a port");
        let giving = std::thread::spawn(move || {
            let (mut successor, _) = listener.accept().expect("a successor");
            give(&mut successor, &[("a:1".into(), bound)], Duration::from_secs(5))
        });
        drop(take(&path).expect("given"));
        assert!(!giving.join().expect("no panic").expect("spoken with"));
    }

    #[test]
    fn nothing_but_a_socket_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("handover.sock");
        std::fs::write(&path, "precious").expect("written");
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
    }
}
