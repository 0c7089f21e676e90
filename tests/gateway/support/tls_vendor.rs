//! A vendor behind TLS that answers with the name it was asked for and the version spoken.

use super::Authority;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running vendor behind TLS.
pub struct TlsVendor {
    pub address: SocketAddr,
    pub authority: Authority,
    accepting: JoinHandle<()>,
}

impl Drop for TlsVendor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsVendor {
    /// With a certificate for these names; `clients`: who may have signed a client's.
    pub async fn start(names: &[&str], clients: Option<&str>, h2: bool) -> TlsVendor {
        let authority = Authority::new("vendor");
        let (certificate, key) = authority.issue(names, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"))
                    .expect("one");
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let mut config = builder.with_single_cert(chain, key).expect("fits");
        config.alpn_protocols = match h2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = socket.accept().await {
                tokio::spawn(serve(tcp, acceptor.clone()));
            }
        });
        TlsVendor { address, authority, accepting }
    }

    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor) {
    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
    let session = stream.get_ref().1;
    let name = session.server_name().unwrap_or("nobody").to_owned();
    if session.alpn_protocol() == Some(b"h2") {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert!(!request.headers().contains_key("host"), "{request:?}");
            let body = format!("{name} {:?}", request.version());
            let mut stream =
                respond.send_response(http::Response::new(()), false).expect("answered");
            stream.send_data(bytes::Bytes::from(body), true).expect("answered");
        }
        return;
    }
    let mut buffer = Vec::new();
    while super::vendor::read_request(&mut stream, &mut buffer).await.is_some() {
        let body = format!("{name} HTTP/1.1");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
