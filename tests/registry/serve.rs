//! `provision serve` under load, under attack, over a damaged bundle, and when it is to stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use provision::bundle::Digest;

use super::conformance::client;
use super::made::{Made, flip};
use super::running::{Running, serve};

#[tokio::test]
async fn two_hundred_pull_at_once() {
    let made = Made::new();
    let server = serve(&made, &["--plain-http", "--quiet"]);
    let (layer, _) = made.largest("registry.k8s.io/pause:3.10", "amd64");
    let client = client();
    let pulls = (0..200).map(|_| {
        let (client, address, layer) = (client.clone(), server.address.clone(), layer.clone());
        async move {
            let base = format!("http://{address}/v2/registry.k8s.io/pause");
            for path in [format!("{base}/manifests/3.10"), format!("{base}/blobs/{layer}")] {
                let answer = client.get(&path).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let digest = answer.headers()["docker-content-digest"].to_str().unwrap().to_owned();
                assert_eq!(Digest::of(&answer.bytes().await.unwrap()).to_string(), digest);
            }
        }
    });
    let begun = Instant::now();
    futures::stream::iter(pulls.map(tokio::spawn)).buffer_unordered(200).for_each(|r| async { r.unwrap() }).await;
    println!("200 pulls of 3 MB at once: {:.2} s", begun.elapsed().as_secs_f64());
    assert_eq!(server.log(), "", "something was said in spite of --quiet");
}

#[tokio::test]
async fn a_flipped_blob_is_never_given_whole() {
    for part_first in [false, true] {
        let made = Made::new();
        let (layer, size) = made.largest("registry.k8s.io/pause:3.10", "amd64");
        flip(&made.blob(&layer));
        let server = serve(&made, &["--plain-http"]);
        let url = format!("http://{}/v2/registry.k8s.io/pause/blobs/{layer}", server.address);
        let client = client();
        if part_first {
            let part = client.get(&url).header("range", "bytes=0-9").send().await.unwrap();
            assert_eq!(part.status(), 404);
        } else {
            let answer = client.get(&url).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let mut stream = answer.bytes_stream();
            let (mut got, mut broke) = (0, false);
            while let Some(piece) = stream.next().await {
                match piece {
                    Ok(piece) => got += piece.len() as u64,
                    Err(_) => broke = true,
                }
            }
            assert!(broke && got < size, "{got} of {size} bytes");
        }
        assert_eq!(client.get(&url).send().await.unwrap().status(), 404, "it was given again");
        assert!(server.log().contains(&format!("{layer} of the bundle is damaged")), "{}", server.log());
        // The rest is served on.
        let sound = format!("http://{}/v2/provision/kubeadm/manifests/1.36.2-amd64", server.address);
        assert_eq!(client.get(&sound).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_the_blob() {
    let made = Made::huge();
    let server = serve(&made, &["--plain-http"]);
    let (blob, size) = made.largest("kubelet", "amd64");
    let url = format!("http://{}/v2/provision/kubelet/blobs/{blob}", server.address);
    let client = client();
    let pulls = (0..4).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            let pieces = client.get(&url).send().await.unwrap().bytes_stream();
            pieces.fold(0, |sum, piece| async move { sum + piece.unwrap().len() as u64 }).await
        })
    });
    for pulled in futures::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap(), size);
    }
    println!("peak memory with 4 pulls of 512 MiB: {} MiB", server.peak_mib());
    assert!(server.peak_mib() < 95, "{} MiB", server.peak_mib());
}

fn refuses(made: &Made, word: &str) {
    let out = Command::new(env!("CARGO_BIN_EXE_provision"))
        .arg("serve")
        .arg(made.path())
        .args(["--listen", "127.0.0.1:0", "--plain-http"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(said.contains(word) && said.contains("Hint:"), "{said}");
}

#[test]
fn a_bundle_with_gaps_is_not_served() {
    let made = Made::new();
    flip(&made.blob(&made.manifest("registry.k8s.io/pause:3.10", "arm64")));
    refuses(&made, "hashes to");
    let made = Made::new();
    let layer = made.blob(&made.largest("kubelet", "amd64").0);
    std::fs::File::options().write(true).open(&layer).unwrap().set_len(1000).unwrap();
    refuses(&made, "1000 bytes of the blob");
    std::fs::remove_file(layer).unwrap();
    refuses(&made, "has no blob");
}

#[test]
fn usage_names_encryption() {
    let serve = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_provision"))
            .args(["serve", "nowhere", "--listen", "127.0.0.1:0"])
            .args(args)
            .output()
            .unwrap();
        out.status.code()
    };
    assert_eq!(serve(&[]), Some(64));
    assert_eq!(serve(&["--tls-cert", "x"]), Some(64));
    assert_eq!(serve(&["--tls-cert", "x", "--tls-key", "y", "--plain-http"]), Some(64));
    assert_eq!(serve(&["--plain-http"]), Some(3));
}

/// What comes back for raw bytes, until the server closes.
fn raw(server: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    // Reset by the server is as good as closed.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn slow_and_oversized_requests_do_not_hold_the_server() {
    let made = Made::new();
    let server = serve(&made, &["--plain-http"]);
    // A head that never ends, and one that is too long.
    let begun = Instant::now();
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n").unwrap();
            stream
        })
        .collect();
    let long = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(raw(&server, long.as_bytes()).starts_with("HTTP/1.1 431"));
    let body = "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nxxxx";
    let said = raw(&server, body.as_bytes());
    assert!(said.starts_with("HTTP/1.1 405"), "{said}");
    assert!(!raw(&server, b"\x16\x03\x01 not http at all\r\n\r\n").contains("200 OK"));
    let fine = raw(&server, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let seconds = begun.elapsed().as_secs();
    assert!((15..35).contains(&seconds), "slow heads were held for {seconds} s");
}

#[tokio::test]
async fn one_client_cannot_take_all_places() {
    let made = Made::new();
    let server = serve(&made, &["--plain-http"]);
    let held: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let mut closed = 0;
    for mut stream in held.iter().skip(256) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        closed += usize::from(stream.read(&mut [0]).is_ok_and(|n| n == 0));
    }
    assert_eq!(closed, 44);
    provision::bundle::tls_init();
    let other = reqwest::Client::builder().no_proxy().local_address("127.0.0.2".parse::<std::net::IpAddr>().unwrap());
    let answer = other.build().unwrap().get(format!("http://{}/v2/", server.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(held);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client().get(format!("http://{}/v2/", server.address)).send().await.unwrap().status(), 200);
}

#[test]
fn a_signal_lets_transfers_end() {
    let made = Made::new();
    let mut server = serve(&made, &["--plain-http"]);
    let (kubelet, size) = made.largest("kubelet", "amd64");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let request = format!("GET /v2/provision/kubelet/blobs/{kubelet} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 1000];
    stream.read_exact(&mut first).unwrap();
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    assert!(TcpStream::connect(&server.address).is_err(), "it still takes connections");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let head = String::from_utf8_lossy(&first).find("\r\n\r\n").unwrap() + 4;
    let mut all = first[head..].to_vec();
    all.extend(rest);
    assert_eq!(all.len() as u64, size);
    assert_eq!(Digest::of(&all).to_string(), kubelet);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let line = format!("127.0.0.1 GET /v2/provision/kubelet/blobs/{kubelet} 200 {size} bytes");
    assert!(server.log().contains(&line), "{}", server.log());
}
