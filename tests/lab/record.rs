//! Keeps what a real cluster answers, so that tests in memory are held against it: `PROVISION_LAB_RECORD=tests/recorded` writes
//! a directory named by the version of Kubernetes into that one.

use std::path::PathBuf;

use provision::host::Probe;
use provision::resource::shell_probe;

use super::harness::Lab;
use super::recorded::{RECORDED, file};

/// Records when that is asked for.
pub fn cluster(lab: &Lab) {
    let Some(dir) = std::env::var_os("PROVISION_LAB_RECORD").map(PathBuf::from) else { return };
    let (_, version) = lab.exec("cp1", "kubeadm version -o short");
    let dir = dir.join(version.trim());
    std::fs::create_dir_all(&dir).unwrap();
    for (host, probe, args) in RECORDED {
        let address = lab.address("cp1");
        let args: Vec<&str> = args.iter().map(|a| if *a == "@cp1" { address.as_str() } else { a }).collect();
        let Probe::Shell(text) = shell_probe(probe, &args) else { panic!("{probe} is no shell probe") };
        let (_, answer) = lab.exec(host, &format!("(\n{text}\n) 2>/dev/null"));
        assert!(!answer.is_empty(), "{host} {probe} says nothing");
        std::fs::write(dir.join(file(host, probe)), answer).unwrap();
    }
    println!("   recorded in {}", dir.display());
}
