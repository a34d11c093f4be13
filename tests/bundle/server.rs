//! A small HTTP server on loopback that serves files and an OCI registry from memory, and misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the next answer for a path goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Only half of the body, then the connection is closed.
    Truncate,
    /// This status and no body.
    Status(u16),
}

#[derive(Default)]
struct Shared {
    files: HashMap<String, (String, Vec<u8>)>,
    faults: HashMap<String, Vec<Fault>>,
    /// The Authorization header that `/v2/` wants; a token service under `/token` gives it for basic credentials.
    bearer: Option<String>,
    basic: Option<String>,
    log: Vec<String>,
}

#[derive(Clone)]
pub struct Server {
    pub base: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let this = Self { base: base.clone(), shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, base) = (Arc::clone(&shared), base.clone());
                std::thread::spawn(move || answer(stream, &shared, &base));
            }
        });
        this
    }

    pub fn put(&self, path: &str, media_type: &str, body: impl Into<Vec<u8>>) {
        self.shared.lock().unwrap().files.insert(path.into(), (media_type.into(), body.into()));
    }

    pub fn fail(&self, path: &str, faults: &[Fault]) {
        self.shared.lock().unwrap().faults.insert(path.into(), faults.iter().rev().copied().collect());
    }

    /// `/v2/` wants this login: basic, or a bearer token that `/token` gives for it.
    pub fn want_login(&self, basic: &str, bearer: Option<&str>) {
        let mut shared = self.shared.lock().unwrap();
        shared.basic = Some(format!("Basic {basic}"));
        shared.bearer = bearer.map(|b| format!("Bearer {b}"));
    }

    /// `METHOD path range` of every request so far.
    pub fn log(&self) -> Vec<String> {
        self.shared.lock().unwrap().log.clone()
    }
}

fn answer(mut stream: TcpStream, shared: &Mutex<Shared>, base: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap_or(0);
            let Some((key, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(key.to_ascii_lowercase(), value.to_owned());
        }
        let (reply, keep) = reply(&path, &headers, &mut shared.lock().unwrap(), base);
        if stream.write_all(&reply).is_err() || !keep {
            return;
        }
    }
}

fn reply(path: &str, headers: &HashMap<String, String>, shared: &mut Shared, base: &str) -> (Vec<u8>, bool) {
    let range = headers.get("range").cloned().unwrap_or_default();
    shared.log.push(format!("GET {path} {range}"));
    let plain = |status: u16, extra: &str| {
        (format!("HTTP/1.1 {status} x\r\n{extra}Content-Length: 0\r\n\r\n").into_bytes(), true)
    };
    let given = headers.get("authorization");
    if path.starts_with("/token") {
        if given != shared.basic.as_ref() {
            return plain(401, "");
        }
        let token = shared.bearer.clone().unwrap_or_default().replace("Bearer ", "");
        let body = format!("{{\"token\":\"{token}\"}}");
        return (
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
            true,
        );
    }
    if path.starts_with("/v2/") {
        let wanted = shared.bearer.as_ref().or(shared.basic.as_ref());
        if wanted.is_some() && given != wanted {
            let challenge = if shared.bearer.is_some() {
                format!("WWW-Authenticate: Bearer realm=\"{base}/token\",service=\"test\"\r\n")
            } else {
                "WWW-Authenticate: Basic realm=\"test\"\r\n".into()
            };
            return plain(401, &challenge);
        }
    }
    let fault = shared.faults.get_mut(path).and_then(Vec::pop);
    if let Some(Fault::Status(status)) = fault {
        return plain(status, "");
    }
    let Some((media_type, body)) = shared.files.get(path) else {
        return plain(404, "");
    };
    let from: usize = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok()).unwrap_or(0);
    let part = &body[from.min(body.len())..];
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let mut out = format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", part.len())
        .into_bytes();
    if fault == Some(Fault::Truncate) {
        out.extend(&part[..part.len() / 2]);
        return (out, false);
    }
    out.extend(part);
    (out, true)
}
