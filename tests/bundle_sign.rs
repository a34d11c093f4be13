//! Signing, and the trust of plan and apply, as a user meets them, against the real minisign (Debian package minisign).

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "bundle/site.rs"]
mod site;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use provision::bundle::{Bundle, SigningKey};
use site::server::Fault;
use site::{Site, text};

const WORDS: &str = "allow_unsigned_bundle = \"I accept unsigned bundles\"";
const PASSWORD: &str = "a s3cret pass phrase";

/// A site with a bundle, the password in a file, and an inventory whose host is never reached.
fn site() -> Site {
    let site = Site::new();
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    fs::write(site.path("password"), format!("{PASSWORD}\n")).unwrap();
    site
}

/// `minisign ARGS` in the site's directory, with these lines typed in. It must succeed.
fn minisign(site: &Site, args: &[&str], typed: &str) -> String {
    let out = run_minisign(site, args, typed);
    assert!(out.status.success(), "minisign {args:?}: {}", text(&out));
    text(&out)
}

fn run_minisign(site: &Site, args: &[&str], typed: &str) -> Output {
    let child = Command::new("minisign")
        .args(args)
        .current_dir(site.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("this test needs the Debian package minisign: apt-get install minisign");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A key pair of the real minisign without a password, which is quick to use: NAME.key and NAME.pub.
fn quick_key(site: &Site, name: &str) {
    minisign(site, &["-G", "-W", "-p", &format!("{name}.pub"), "-s", &format!("{name}.key")], "");
}

/// The second line of NAME.pub, and the id in the key.
fn public(site: &Site, name: &str) -> (String, String) {
    let text = fs::read_to_string(site.path(&format!("{name}.pub"))).unwrap();
    let line = text.lines().nth(1).unwrap().to_owned();
    let id = line.parse::<provision::inventory::PublicKey>().unwrap().id();
    (line, id)
}

/// The real minisign signs bundle.json with NAME.key; into `signatures/NAME.minisig`, with this trusted comment.
fn sign_with_minisign(site: &Site, name: &str, comment: &str) -> PathBuf {
    fs::create_dir_all(site.path("bundle/signatures")).unwrap();
    let to = format!("bundle/signatures/{name}.minisig");
    minisign(site, &["-S", "-s", &format!("{name}.key"), "-x", &to, "-m", "bundle/bundle.json", "-t", comment], "");
    site.path(&to)
}

/// `NAME.toml`: the inventory with this [trust] and a host that nothing listens on.
fn inventory(site: &Site, name: &str, trust: &str) -> String {
    let all = fs::read_to_string(site.path("inventory.toml")).unwrap();
    let (before, hosts) = all.split_once(&format!("[trust]\n{WORDS}\n")).unwrap();
    let text = format!("{before}{trust}\n{hosts}ssh_address = \"127.0.0.1\"\nport = 1\n");
    fs::write(site.path(&format!("{name}.toml")), text).unwrap();
    format!("{name}.toml")
}

fn signers(site: &Site, threshold: usize, names: &[&str]) -> String {
    let one = |name: &&str| format!("[[trust.signers]]\nname = \"{name}\"\nkey = \"{}\"\n", public(site, name).0);
    format!("[trust]\nthreshold = {threshold}\n{}", names.iter().map(one).collect::<String>())
}

/// `provision plan` or `apply`: the exit code and what it said.
fn provision(site: &Site, command: &str, inventory: &str) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_provision"))
        .args([command, "-i", inventory, "-b", "bundle"])
        .current_dir(site.dir.path())
        .env("XDG_STATE_HOME", site.path("state"))
        .env("HOME", site.dir.path())
        .output()
        .unwrap();
    (out.status.code(), text(&out))
}

/// Refused, by `plan`, `apply` and `verify`, before any host is touched.
fn refused(site: &Site, inventory: &str) -> String {
    for command in ["plan", "apply"] {
        let (code, said) = provision(site, command, inventory);
        assert_eq!(code, Some(3), "{command}: {said}");
        assert!(said.contains("Hint:") && !said.contains("127.0.0.1"), "{command}: {said}");
    }
    site.fails(3, "c", &["verify", "bundle", "-i", inventory])
}

/// Trusted: `plan` and `apply` go on, to a host that does not answer. Returns what `plan` said.
fn trusted(site: &Site, inventory: &str) -> String {
    site.ok("c", &["verify", "bundle", "-i", inventory]);
    let (code, said) = provision(site, "apply", inventory);
    assert_eq!(code, Some(4), "{said}");
    let (code, said) = provision(site, "plan", inventory);
    assert_eq!(code, Some(4), "{said}");
    said
}

#[test]
fn the_real_minisign_and_we_take_one_anothers_keys_and_signatures() {
    let site = site();
    // Ours: the key, and the signature.
    site.ok("c", &["keygen", "-o", "ours", "--password-file", "password"]);
    let (_, ours) = public(&site, "ours");
    let sign = ["sign", "bundle", "--key", "ours.key", "--password-file", "password"];
    site.ok("c", &sign);
    let file = format!("bundle/signatures/{ours}.minisig");
    let check = ["-V", "-H", "-m", "bundle/bundle.json", "-x", &file, "-p", "ours.pub"];
    let digest = Bundle::open(&site.path("bundle")).unwrap().digest();
    let comment = format!("provision bundle kubernetes:1.36.2 {digest}");
    assert!(minisign(&site, &check, "").ends_with(&format!("Trusted comment: {comment}\n")));
    // Signed again, with a last day: in place of the first.
    site.ok("c", &[&sign[..], &["--expires", "2999-12-31"]].concat());
    assert!(minisign(&site, &check, "").ends_with(&format!("Trusted comment: {comment} expires:2999-12-31\n")));
    assert_eq!(fs::read_dir(site.path("bundle/signatures")).unwrap().count(), 1);
    assert_eq!(fs::metadata(site.path(&file)).unwrap().permissions().mode() & 0o777, 0o644);
    // The real one signs with our key, and with its own; we sign with its own, which costs 1 GiB of memory to open.
    let typed = format!("{PASSWORD}\n");
    minisign(
        &site,
        &["-S", "-s", "ours.key", "-x", "bundle/signatures/by-hand.minisig", "-m", "bundle/bundle.json"],
        &typed,
    );
    minisign(&site, &["-G", "-p", "real.pub", "-s", "real.key"], &typed.repeat(2));
    minisign(
        &site,
        &["-S", "-s", "real.key", "-x", "bundle/signatures/real.minisig", "-m", "bundle/bundle.json"],
        &typed,
    );
    let out = site.bundle("c", &["verify", "bundle", "--key", "ours.pub", "--key", &public(&site, "real").0]);
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(text(&out).matches("valid").count(), 3, "{}", text(&out));
    fs::remove_file(site.path("bundle/signatures/real.minisig")).unwrap();
    site.fails(3, "c", &["verify", "bundle", "--key", "ours.pub", "--key", "real.pub"]);
    site.ok("c", &["sign", "bundle", "--key", "real.key", "--password-file", "password"]);
    site.ok("c", &["verify", "bundle", "--key", "ours.pub", "--key", "real.pub"]);
    let real = format!("bundle/signatures/{}.minisig", public(&site, "real").1);
    minisign(&site, &["-V", "-m", "bundle/bundle.json", "-x", &real, "-p", "real.pub"], "");
    // A key that has no password needs none.
    quick_key(&site, "quick");
    site.ok("c", &["sign", "bundle", "--key", "quick.key"]);
    site.ok("c", &["verify", "bundle", "--key", "quick.pub"]);
}

#[test]
fn two_of_three_is_two_different_ones() {
    let site = site();
    for name in ["a", "b", "c", "stranger"] {
        quick_key(&site, name);
    }
    let inv = inventory(&site, "two", &signers(&site, 2, &["a", "b", "c"]));
    let said = refused(&site, &inv);
    assert!(said.contains("0 of 2") && said.contains("by a\n") && said.contains("bundle sign"), "{said}");
    // The same key under two names counts once; one whom nobody knows does not count.
    site.ok("c", &["sign", "bundle", "--key", "a.key"]);
    sign_with_minisign(&site, "a", "again");
    sign_with_minisign(&site, "stranger", "me too");
    let said = refused(&site, &inv);
    assert!(said.contains("1 of 2") && said.contains("unknown key") && !said.contains("by a\n"), "{said}");
    site.ok("c", &["sign", "bundle", "--key", "b.key"]);
    let said = trusted(&site, &inv);
    assert!(!said.contains("warning"), "{said}");
    // The third signed something else: two are enough, and it is said.
    let third = sign_with_minisign(&site, "c", "c");
    let other = fs::read_to_string(site.path("inventory.toml")).unwrap();
    fs::write(site.path("other"), other).unwrap();
    minisign(&site, &["-S", "-s", "c.key", "-x", third.to_str().unwrap(), "-m", "other"], "");
    let said = trusted(&site, &inv);
    assert!(said.contains("a signature that does not hold") && said.contains(&public(&site, "c").1), "{said}");
}

#[test]
fn a_byte_that_changed_after_signing_is_seen() {
    let site = site();
    quick_key(&site, "a");
    site.ok("c", &["sign", "bundle", "--key", "a.key"]);
    let inv = inventory(&site, "one", &signers(&site, 1, &["a"]));
    trusted(&site, &inv);
    let path = site.path("bundle/bundle.json");
    let good = fs::read_to_string(&path).unwrap();
    // It stays canonical and the blobs stay whole: the signature tells before anything is hashed.
    fs::write(&path, good.replacen("http://", "https://", 1)).unwrap();
    let said = refused(&site, &inv);
    assert!(said.contains("changed after signing"), "{said}");
    // The words ask for no signature; the bundle's own provenance, which nobody signed, still does not fit.
    let words = inventory(&site, "words", &format!("{}{WORDS}\n", "[trust]\n"));
    let said = site.fails(3, "c", &["verify", "bundle", "-i", &words]);
    assert!(said.contains("NOBODY VOUCHES") && said.contains("provenance.json: its subject bundle.json"), "{said}");
    let both = signers(&site, 1, &["a"]).replace("[trust]\n", &format!("[trust]\n{WORDS}\n"));
    refused(&site, &inventory(&site, "both", &both));
    // Any byte at all.
    for at in (0..good.len()).step_by(good.len() / 150) {
        let mut bad = good.clone().into_bytes();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        site.fails(3, "c", &["verify", "bundle", "-i", &inv]);
    }
    fs::write(&path, good).unwrap();
    trusted(&site, &inv);
}

#[test]
fn what_is_no_good_is_named() {
    let site = site();
    quick_key(&site, "a");
    let inv = inventory(&site, "one", &signers(&site, 1, &["a"]));
    let path = sign_with_minisign(&site, "a", "expires:2020-01-31");
    assert!(refused(&site, &inv).contains("a: expired on 2020-01-31"));
    sign_with_minisign(&site, "a", "expires:soon");
    assert!(refused(&site, &inv).contains("the date on which it expires cannot be read"));
    minisign(&site, &["-S", "-l", "-s", "a.key", "-x", path.to_str().unwrap(), "-m", "bundle/bundle.json"], "");
    assert!(refused(&site, &inv).contains("legacy"));
    sign_with_minisign(&site, "a", "fine");
    trusted(&site, &inv);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, whole.len() / 4, whole.len() / 2, whole.len() - 4] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(refused(&site, &inv).contains("a.minisig: wrong: it is no signature"), "{length}");
        // Also without any key to check it with.
        site.fails(3, "c", &["verify", "bundle"]);
    }
    // A trusted comment that somebody changed, with what a terminal would obey.
    let text = String::from_utf8(whole).unwrap();
    fs::write(&path, text.replace("trusted comment: fine", "trusted comment: \u{1b}[2Jfine")).unwrap();
    let said = refused(&site, &inv);
    assert!(said.contains("changed after signing") && !said.contains('\u{1b}'), "{said:?}");
    // What would never end is not read.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(refused(&site, &inv).contains("a.minisig is neither file nor directory"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(site.path("bundle/signatures/dir.minisig")).unwrap();
    assert!(refused(&site, &inv).contains("0 of 1"));
}

#[test]
fn unsigned_bundles_need_the_words() {
    let site = site();
    let none = inventory(&site, "none", "");
    let said = refused(&site, &none);
    assert!(
        said.contains("nobody has signed it") && said.contains("[[trust.signers]]") && said.contains(WORDS),
        "{said}"
    );
    // Signatures are worth nothing while no key is pinned.
    quick_key(&site, "a");
    site.ok("c", &["sign", "bundle", "--key", "a.key"]);
    assert!(refused(&site, &none).contains("no key is trusted"));
    let words = inventory(&site, "words", &format!("[trust]\n{WORDS}\n"));
    for _ in 0..2 {
        let said = trusted(&site, &words);
        assert!(said.contains("warning: NOBODY VOUCHES FOR THE BUNDLE"), "{said}");
    }
    let nearly = inventory(&site, "nearly", "[trust]\nallow_unsigned_bundle = \"yes\"\n");
    let (code, said) = provision(&site, "apply", &nearly);
    assert!(code == Some(3) && said.contains("I accept unsigned bundles") && said.contains("nearly.toml:"), "{said}");
}

#[test]
fn keys_and_passwords_stay_secret() {
    let site = site();
    let keygen = ["keygen", "-o", "k", "--password-env", "TEST_PASSWORD"];
    let out = site.bundle("c", &keygen);
    assert!(out.status.success(), "{}", text(&out));
    let key = fs::read_to_string(site.path("k.key")).unwrap();
    let mut said = text(&out);
    assert!(said.contains(&public(&site, "k").0));
    assert_eq!(fs::metadata(site.path("k.key")).unwrap().permissions().mode() & 0o777, 0o600);
    // A key is never overwritten, and never made without a password.
    said += &site.fails(5, "c", &keygen);
    fs::remove_file(site.path("k.pub")).unwrap();
    said += &site.fails(5, "c", &keygen);
    assert_eq!(fs::read_to_string(site.path("k.key")).unwrap(), key);
    fs::write(site.path("empty"), "\n").unwrap();
    said += &site.fails(5, "c", &["keygen", "-o", "n", "--password-file", "empty"]);
    assert!(!site.path("n.key").exists() && !site.path("n.pub").exists());
    // The wrong password, one that is nowhere, and what is no key.
    let wrong = site.fails(1, "c", &["sign", "bundle", "--key", "k.key", "--password-file", "password"]);
    assert!(wrong.contains("check the password") && !wrong.contains(PASSWORD), "{wrong}");
    said += &site.fails(1, "c", &["sign", "bundle", "--key", "k.key", "--password-env", "s3cret words"]);
    said += &site.fails(3, "c", &["sign", "bundle", "--key", "password", "--password-file", "password"]);
    said += &site.fails(64, "c", &["sign", "bundle", "--key", "k.key", "--expires", "2026-1-1"]);
    said += &site.fails(64, "c", &["sign", "bundle", "--key", "k.key", "--expires", "2020-01-01"]);
    assert!(!site.path("bundle/signatures").exists());
    let open = SigningKey::open(&site.path("k.key"), &"s3cret words".to_owned().into()).unwrap();
    said += &format!("{open:?}");
    let out = site.bundle("c", &["sign", "bundle", "--key", "k.key", "--password-env", "TEST_PASSWORD"]);
    assert!(out.status.success());
    said += &text(&out);
    assert!(!said.contains("s3cret") && !said.contains(key.lines().nth(1).unwrap()), "{said}");
    // No terminal to ask on: it says what to do.
    let out = Command::new("setsid")
        .args(["-w", env!("CARGO_BIN_EXE_provision"), "bundle", "keygen", "-o", "p"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert!(out.status.code() == Some(1) && text(&out).contains("--password-env"), "{}", text(&out));
}

#[test]
fn a_damaged_bundle_is_not_signed() {
    let site = site();
    quick_key(&site, "a");
    let blob = fs::read_dir(site.path("bundle/blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let said = site.fails(3, "c", &["sign", "bundle", "--key", "a.key"]);
    assert!(said.contains("damaged"), "{said}");
    assert!(!site.path("bundle/signatures").exists());
}

#[test]
fn strict_names_what_only_the_lock_pins() {
    let site = Site::new();
    site.upstream.fail("/cni/v1.0.0/cni-plugins-linux-amd64-v1.0.0.tgz.sha256", &[Fault::Status(404)]);
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle", "-i", "inventory.toml"]);
    let said = site.fails(3, "c", &["verify", "bundle", "--strict"]);
    assert!(said.contains("\n  cni-plugins 1.0.0 for amd64\n") && !said.contains("kubelet"), "{said}");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle", "--strict"]);
    let out = site.bundle("c", &["verify", "bundle", "-i", "inventory.toml", "--format", "json"]);
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["trust"]["is"], "accepted-unsigned");
    assert_eq!(said["by_the_lock_alone"].as_array().unwrap().len(), 0);
}
