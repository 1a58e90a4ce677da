//! A small HTTP server of our own: a bucket that behaves, and whatever a test puts in its way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked.
pub struct Request {
    pub method: String,
    /// With the query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.target.contains("list-type=2")
    }
}

/// What the server answers.
pub enum Reply {
    /// An answer.
    Http { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// The connection is closed without one.
    HangUp,
    /// None comes for a while.
    Silence(Duration),
    /// The connection breaks after so many bytes of the body.
    Cut(Box<Reply>, usize),
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Reply::Http { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An error as S3 words it.
    pub fn error(status: u16, code: &str) -> Self {
        let body =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>In words.</Message></Error>");
        Reply::Http { status, headers: Vec::new(), body: body.into_bytes() }
    }

    fn send(&self, request: &Request, stream: &mut dyn ReadWrite) -> std::io::Result<()> {
        let (reply, most) = match self {
            Reply::HangUp => return Ok(()),
            Reply::Silence(time) => {
                std::thread::sleep(*time);
                return Ok(());
            }
            Reply::Cut(reply, most) => (&**reply, *most),
            reply => (reply, usize::MAX),
        };
        let Reply::Http { status, headers, body } = reply else { return Ok(()) };
        let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Content-Length") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        if request.method != "HEAD" {
            stream.write_all(&body[..body.len().min(most)])?;
        }
        stream.flush()
    }
}

/// A bucket in memory, whatever its name and prefix.
#[derive(Default)]
pub struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    /// A server that takes the condition of a create-only write and does not look at it.
    pub ignores_conditions: bool,
    /// A server that names no version of an object.
    pub sends_no_etag: bool,
}

impl Bucket {
    /// Does what is asked.
    pub fn serve(&mut self, request: &Request) -> Reply {
        let mut reply = self.answer(request);
        if let (true, Reply::Http { headers, .. }) = (self.sends_no_etag, &mut reply) {
            headers.retain(|(name, _)| *name != "ETag");
        }
        reply
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let path = request.path().to_owned();
        match request.method.as_str() {
            "PUT" => {
                let conditional = request.headers.contains_key("if-none-match") && !self.ignores_conditions;
                if conditional && self.objects.contains_key(&path) {
                    return Reply::error(412, "PreconditionFailed");
                }
                self.objects.insert(path, request.body.clone());
                Reply::Http { status: 200, headers: vec![("ETag", "\"1\"".into())], body: Vec::new() }
            }
            "GET" if request.is_list() => {
                let prefix = request.target.split(['?', '&']).find_map(|part| part.strip_prefix("prefix="));
                let prefix = prefix.unwrap_or("").replace("%2F", "/");
                let all = self.objects.iter().filter_map(|(path, content)| {
                    let (_, key) = path.get(1..)?.split_once('/')?;
                    Some((key, key.strip_prefix(&prefix)?, content.len()))
                });
                let is_shallow = request.target.contains("delimiter=");
                let (deep, here): (Vec<_>, Vec<_>) =
                    all.partition(|(_, rest, _)| is_shallow && rest.contains('/'));
                let mut names: Vec<String> = deep
                    .iter()
                    .filter_map(|(_, rest, _)| Some(format!("{prefix}{}/", rest.split_once('/')?.0)))
                    .collect();
                names.dedup();
                let here: Vec<_> = here.iter().map(|(key, _, size)| (*key, *size)).collect();
                listing(&here, &names)
            }
            "GET" | "HEAD" => match self.objects.get(&path) {
                Some(content) => part_of(content, request.headers.get("range").map(String::as_str)),
                None => Reply::error(404, "NoSuchKey"),
            },
            // All of them: there is one at most in these tests.
            "POST" => {
                self.objects.clear();
                let body = "<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>";
                Reply::Http { status: 200, headers: Vec::new(), body: body.into() }
            }
            _ => Reply::error(405, "MethodNotAllowed"),
        }
    }
}

/// The page of a listing that shows these keys, each of an object of 7 bytes.
pub fn list_of(keys: &[&str]) -> Reply {
    listing(&keys.iter().map(|&key| (key, 7)).collect::<Vec<_>>(), &[])
}

fn listing(objects: &[(&str, usize)], names: &[String]) -> Reply {
    let mut body = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
    for (key, size) in objects {
        body.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        ));
    }
    for name in names {
        body.push_str(&format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"));
    }
    body.push_str("</ListBucketResult>");
    Reply::Http { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

/// An object, or the part that a header `Range: bytes=first-last` asks for.
pub fn part_of(content: &[u8], range: Option<&str>) -> Reply {
    let mut headers =
        vec![("ETag", "\"1\"".to_owned()), ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned())];
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Reply::Http { status: 200, headers, body: content.to_vec() };
    };
    let first: usize = first.parse().expect("a number");
    let last = last.parse::<usize>().expect("a number").min(content.len().saturating_sub(1));
    if first > last {
        return Reply::error(416, "InvalidRange");
    }
    headers.push(("Content-Range", format!("bytes {first}-{last}/{}", content.len())));
    Reply::Http { status: 206, headers, body: content[first..=last].to_vec() }
}

/// A running server. Its threads end with the process.
pub struct Stub {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Serves `answer`, which gets the bucket and the number of the request, from 0 on.
    pub fn start(answer: impl FnMut(&mut Bucket, usize, &Request) -> Reply + Send + 'static) -> Self {
        Self::start_with(answer, "http", |mut stream, serve| serve(&mut stream))
    }

    /// The same behind a layer that `wrap` puts round each connection.
    pub fn start_with(
        mut answer: impl FnMut(&mut Bucket, usize, &Request) -> Reply + Send + 'static,
        scheme: &str,
        wrap: impl Fn(TcpStream, &dyn Fn(&mut dyn ReadWrite)) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let endpoint = format!("{scheme}://127.0.0.1:{}", listener.local_addr().expect("its address").port());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stub = Stub { endpoint, requests: Arc::clone(&requests) };
        let mut bucket = Bucket::default();
        let decide = Mutex::new(move |request: &Request, number| answer(&mut bucket, number, request));
        let shared = Arc::new((requests, decide, wrap));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let (requests, decide, wrap) = &*shared;
                    wrap(stream, &|stream| {
                        let Some(request) = read_request(stream) else { return };
                        let reply = {
                            let mut requests = requests.lock().expect("the log");
                            requests.push(format!("{} {}", request.method, request.target));
                            let number = requests.len() - 1;
                            let mut decide = decide.lock().expect("the answers");
                            decide(&request, number)
                        };
                        // The client may be gone.
                        let _ = reply.send(&request, stream);
                    });
                });
            }
        });
        stub
    }

    /// What was asked so far: method and target.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the log").clone()
    }
}

/// Both directions of a connection.
pub trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn read_request(stream: &mut dyn ReadWrite) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}
