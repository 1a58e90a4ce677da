//! https works, with the certificates that the system trusts and no others.
//!
//! `tests/data/tls` holds a certificate for 127.0.0.1 that is signed by itself, and its key, which protects nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::child;
use crate::s3::environment_for;
use crate::stub::Stub;

/// A bucket behind TLS, and how many handshakes came to an end.
fn server() -> (Stub, Arc<AtomicUsize>) {
    let certificate = CertificateDer::from(include_bytes!("../data/tls/certificate.der").as_slice());
    let key =
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(include_bytes!("../data/tls/key.der").as_slice()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    let config = Arc::new(config);
    let greeted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&greeted);
    let wrap = move |mut socket: TcpStream, serve: &dyn Fn(&mut dyn crate::stub::ReadWrite)| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        while connection.is_handshaking() {
            if connection.complete_io(&mut socket).is_err() {
                return;
            }
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let mut stream = StreamOwned::new(connection, socket);
        serve(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
        // The client closes, too; until then what it has not read yet must not be lost to a reset.
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.sock.read(&mut [0; 16]);
    };
    (Stub::start_with(|bucket, _, request| bucket.serve(request), "https", wrap), greeted)
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (stub, greeted) = server();
    let told = child::run_on(
        "s3://bucket/x",
        &environment_for(&stub.endpoint),
        "put probe",
        Duration::from_secs(60),
    );
    for line in &told.lines {
        // An error of the certificate, and not one of missing cryptography.
        assert!(line.contains("Err(Other)") && line.contains("invalid peer certificate"), "{line}");
    }
    assert_eq!(greeted.load(Ordering::SeqCst), 0, "no handshake came to its end");
    assert!(stub.requests().is_empty(), "{:?}", stub.requests());
}

#[test]
fn a_certificate_that_the_system_trusts_is_taken() {
    let (stub, greeted) = server();
    let trusted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/certificate.pem");
    let mut environment = environment_for(&stub.endpoint).to_vec();
    environment.push(("SSL_CERT_FILE", trusted.into()));
    environment.push(("AWS_ALLOW_HTTP", "false".into()));
    let told = child::run_on("s3://bucket/x", &environment, "put get probe", Duration::from_secs(60));
    assert_eq!(told.lines, ["put: Ok(Created)", "get: Ok(b\"content\")", "probe: Ok(true)"]);
    assert!(greeted.load(Ordering::SeqCst) > 0);
}
