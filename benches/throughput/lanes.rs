//! The vendor lane beside the stream lane, in one gateway process: processor time of a request
//! whose body is read before it asks for a slot, and of one that is passed on as it comes.

use crate::Outcome;
use crate::credential::TOKEN;
use crate::load;
use crate::processes::{Process, Programs};
use crate::spread::{Spread, print_head};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Connections that are busy at a time, and slots of the vendor lane: nobody waits.
const CONNECTIONS: usize = 64;
/// Requests over each of them in one round: a second of processor time, of which the kernel counts
/// the hundredths.
const EACH: u32 = 300;
const WARM_UPS: usize = 2;
const ROUNDS: usize = 9;
/// The body of a write.
const BODY_BYTES: usize = 10 << 10;

/// The same vendor once more, with a limit: what asks it takes the vendor lane.
fn limited(vendor: SocketAddr) -> String {
    format!(
        r#"[vendors.bulk]
base_url = "http://{vendor}"
credential = {{ kind = "bearer", token = {{ env = "BENCH_TOKEN" }} }}
concurrency = {CONNECTIONS}

[[route]]
name = "bulk"
path = "/bulk"
vendor = "bulk"
"#
    )
}

/// Prints processor time of the gateway for each request.
pub fn run() -> Outcome<()> {
    if !cfg!(target_os = "linux") {
        println!("not measured: processor time is read from Linux's /proc");
        return Ok(());
    }
    println!("\nVendor lane: beside the stream lane, {CONNECTIONS} connections, access log on");
    let requests = EACH as usize * CONNECTIONS;
    println!("{ROUNDS} rounds of {requests} requests each, alternating\n");
    let programs = Programs::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let vendor = programs.vendor()?;
        let further = limited(vendor.address);
        let gateway = programs.erpgate_with(vendor.address, &further, Stdio::null())?;
        let connections = load::open(gateway.address, CONNECTIONS).await?;
        let mut load = Load { gateway, connections };
        let posting = format!("POST with {} KiB", BODY_BYTES >> 10);
        load.compare("GET, 1 KiB of JSON back", "GET", 0).await?;
        load.compare(&posting, "POST", BODY_BYTES).await
    })
}

struct Load {
    gateway: Process,
    connections: Vec<TcpStream>,
}

impl Load {
    async fn compare(&mut self, name: &str, method: &str, body: usize) -> Outcome<()> {
        let request = |route| request(self.gateway.address, method, route, body);
        let (stream, vendor) = (request("erp"), request("bulk"));
        let (mut of_stream, mut of_vendor, mut ratios) = <(Spread, Spread, Spread)>::default();
        for round in 0..WARM_UPS + ROUNDS {
            // Each is first in every other pair: what drifts hits both alike.
            let (streamed, read) = if round % 2 == 0 {
                let streamed = self.round(&stream).await?;
                (streamed, self.round(&vendor).await?)
            } else {
                let read = self.round(&vendor).await?;
                (self.round(&stream).await?, read)
            };
            if round >= WARM_UPS {
                of_stream.add(streamed);
                of_vendor.add(read);
                ratios.add(read / streamed);
            }
        }
        print_head(&format!("CPU µs, {name}"));
        of_stream.print("stream lane", 2);
        of_vendor.print("vendor lane", 2);
        ratios.print("vendor / stream, pair by pair", 3);
        println!();
        Ok(())
    }

    /// Processor time of the gateway for each request of one round, in microseconds.
    async fn round(&mut self, request: &Arc<[u8]>) -> Outcome<f64> {
        let before = self.gateway.cpu()?;
        let connections = std::mem::take(&mut self.connections);
        self.connections = load::round(connections, request, EACH).await?;
        let took = self.gateway.cpu()? - before;
        Ok(took.total() * 1e6 / f64::from(EACH) / CONNECTIONS as f64)
    }
}

fn request(address: SocketAddr, method: &str, route: &str, body: usize) -> Arc<[u8]> {
    let token = &*TOKEN;
    let length = match body {
        0 => String::new(),
        body => format!("Content-Length: {body}\r\n"),
    };
    let head = format!(
        "{method} /{route}/services/rest/record/v1/salesOrder HTTP/1.1\r\n\
         Host: {address}\r\n\
         User-Agent: integration/2.7 (order export)\r\n\
         Accept: application/json\r\n\
         Authorization: Bearer {token}\r\n\
         Content-Type: application/json\r\n\
         {length}\r\n"
    );
    [head.into_bytes(), vec![b'x'; body]].concat().into()
}
