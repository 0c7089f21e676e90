//! The shell, and the only code that knows pingora's proxy: listeners, TLS, hooks, replies and the
//! life of the process.

pub mod accept;
pub mod answers;
pub mod arrival;
pub mod asking;
pub mod by_key;
pub mod connection;
pub mod context;
pub mod downstream;
pub mod edits;
pub mod front;
pub mod handover;
pub mod handover_slots;
pub mod hooks;
pub mod lane;
pub mod life;
pub mod looking_up;
pub mod own_request;
pub mod pace;
pub mod peers;
pub mod probing;
pub mod reload;
pub mod replies;
pub mod request_line;
pub mod sockets;
pub mod table;
pub mod upload;
pub mod vendor_lane;
pub mod watch;
pub mod writing;
