//! A pingora proxy that only proxies, built as erpgate is built: what erpgate is measured against.
//!
//! Usage: `bare_proxy LISTEN VENDOR WORKERS`, as in `bare_proxy 127.0.0.1:8080 127.0.0.1:9000 2`.
//! Same pingora, allocator, runtime and pool size as erpgate; no log, no metrics, no limits.

use async_trait::async_trait;
use pingora_core::Result as PingoraResult;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

/// As in `src/gateway/life.rs`.
const POOL_SIZE: usize = 1024;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    vendor: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> PingoraResult<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.vendor, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: bare_proxy LISTEN VENDOR WORKERS");
    let (listen, vendor, workers) = (next()?, next()?.parse()?, next()?.parse()?);
    let conf = ServerConf {
        threads: workers,
        upstream_keepalive_pool_size: POOL_SIZE,
        ..ServerConf::default()
    };
    let mut service = http_proxy_service(&Arc::new(conf), Bare { vendor });
    service.add_tcp(&listen);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    // Nobody asks it to stop: the bench ends the process.
    let (_stop, told_to_stop) = tokio::sync::watch::channel(false);
    runtime.block_on(async move {
        let serving = async move { service.start_service(None, told_to_stop, 1).await };
        tokio::spawn(serving).await
    })?;
    Ok(())
}
