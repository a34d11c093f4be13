//! A proxy before a real registry that writes down what is asked, wants a login, and does what networks do.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a request instead of being passed on.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: this one is spared.
    Pass,
    /// This status.
    Status(u16),
    /// Only so many bytes of its body arrive, then the connection is gone.
    Cut(u64),
    /// It is told to go to this base URL.
    Moved(String),
    /// Nothing, for a minute.
    Hang,
}

#[derive(Default)]
struct Shared {
    faults: Vec<(String, String, Fault)>,
    log: Vec<String>,
    /// Basic login that the token service wants.
    basic: Option<String>,
}

#[derive(Clone)]
pub struct Faulty {
    pub address: String,
    shared: Arc<Mutex<Shared>>,
}

impl Faulty {
    /// Before the registry at `upstream`.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let this = Self { address, shared: Arc::default() };
        let (server, upstream) = (this.clone(), upstream.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (server, upstream) = (server.clone(), upstream.clone());
                std::thread::spawn(move || server.pass(stream, &upstream));
            }
        });
        this
    }

    /// The next request of this method with this in its path goes wrong.
    pub fn fail(&self, method: &str, path: &str, fault: Fault) {
        self.shared.lock().unwrap().faults.push((method.into(), path.into(), fault));
    }

    /// Everything wants a bearer token, which is given for this basic login.
    pub fn want_token(&self, basic: &str) {
        self.shared.lock().unwrap().basic = Some(format!("Basic {basic}"));
    }

    /// `METHOD path authorization` of every request so far.
    pub fn log(&self) -> Vec<String> {
        self.shared.lock().unwrap().log.clone()
    }

    fn pass(&self, mut client: TcpStream, upstream: &str) -> Option<()> {
        let mut reader = BufReader::new(client.try_clone().ok()?);
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let (method, path) = (first.split(' ').next()?.to_owned(), first.split(' ').nth(1)?.to_owned());
        let login = headers.remove("authorization").unwrap_or_default();
        let (fault, basic) = {
            let mut shared = self.shared.lock().unwrap();
            shared.log.push(format!("{method} {path} {login}"));
            let found = shared.faults.iter().position(|(m, p, _)| *m == method && path.contains(p.as_str()));
            (found.map(|i| shared.faults.remove(i).2), shared.basic.clone())
        };
        let length: u64 = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut say = |text: String| {
            // What was sent is taken first: closing on unread bytes would reset the answer away.
            let _ = std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink());
            client.write_all(text.as_bytes()).ok()
        };
        let plain = |status: u16, more: &str| {
            format!("HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
        };
        if let Some(basic) = basic {
            if path.starts_with("/token") {
                let body = "{\"token\":\"a.token\"}";
                let fine =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                return say(if login == basic { fine } else { plain(401, "") });
            }
            if login != "Bearer a.token" {
                let realm =
                    format!("Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:x:pull\"", self.address);
                return say(plain(401, &format!("WWW-Authenticate: {realm}\r\n")));
            }
        }
        let cut = match fault {
            Some(Fault::Status(status)) => return say(plain(status, "Retry-After: 1\r\n")),
            Some(Fault::Moved(base)) => return say(plain(307, &format!("Location: {base}{path}\r\n"))),
            Some(Fault::Hang) => {
                std::thread::sleep(Duration::from_secs(60));
                return None;
            }
            Some(Fault::Cut(bytes)) => Some(bytes),
            Some(Fault::Pass) | None => None,
        };
        let mut server = TcpStream::connect(upstream).ok()?;
        headers.insert("connection".into(), "close".into());
        let head: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        server.write_all(format!("{first}{head}\r\n").as_bytes()).ok()?;
        std::io::copy(&mut (&mut reader).take(cut.unwrap_or(length)), &mut server).ok()?;
        if cut.is_some() {
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
            return None;
        }
        std::io::copy(&mut server, &mut client).ok()?;
        client.shutdown(Shutdown::Both).ok()
    }
}
