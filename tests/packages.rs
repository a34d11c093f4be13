//! Packages of the operating system, from real repositories with real signatures to real apt and dnf without a network.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "packages/repository.rs"]
mod repository;
#[path = "packages/root.rs"]
mod root;
#[path = "bundle/site.rs"]
mod site;

use std::cmp::Ordering;
use std::process::Command;

use proptest::prelude::*;
use provision::bundle::{Bundle, Lock};
use provision::inventory::{self, Inventory, PackageKind};
use provision::packages::compare;
use repository::{Debs, Key, Rpms};
use root::Root;
use site::{Site, text, tree};

/// A site whose inventory asks for packages of the deb repository.
fn deb_site(key: &Key, names: &str) -> Site {
    let site = Site::new();
    key.export(&site.path("keys.gpg"), false);
    ask(&site, "deb", "suite = \"stable\"\ncomponents = [\"main\"]\n", names);
    site
}

fn rpm_site(key: &Key, names: &str) -> Site {
    let site = Site::new();
    key.export(&site.path("keys.gpg"), true);
    ask(&site, "rpm", "", names);
    site
}

fn ask(site: &Site, kind: &str, more: &str, names: &str) {
    let file = site.path("inventory.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let before = before.split("[[packages").next().unwrap();
    let base = &site.upstream.base;
    let section = format!(
        "\n[[packages.repository]]\nname = \"test\"\ntype = \"{kind}\"\nurl = \"{base}/{kind}\"\n{more}keyring = \"keys.gpg\"\nnames = {names}\n"
    );
    std::fs::write(&file, format!("{before}{section}")).unwrap();
}

fn debs() -> Debs {
    let debs = Debs::new();
    debs.add("pt-tool", "1:1.0~rc1-1", "Depends: pt-lib (>= 1.0), pt-mta | nobody, dpkg (>= 1.0)\n", POSTINST)
        .add("pt-lib", "0.9", "", "")
        .add("pt-lib", "1.2", "Pre-Depends: pt-early\n", "")
        .add("pt-early", "1", "", "")
        .add("pt-mail", "1", "Provides: pt-mta\n", "")
        .add("pt-unused", "1", "", "")
        // Every host has it already: it stays out.
        .add("dpkg", "1.0", "Essential: yes\n", "");
    debs
}

/// What a package's script would hear if it wanted to start its service.
const POSTINST: &str = "/usr/sbin/policy-rc.d; echo $? >/pt-policy";

#[test]
fn a_closed_set_is_locked_built_and_verified() {
    let (key, site) = {
        let key = Key::new("Archive");
        let site = deb_site(&key, "[\"pt-tool\"]");
        (key, site)
    };
    debs().publish(&site.upstream, &key, "");
    site.ok("c", &["lock"]);
    let lock: toml::Table = std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap().parse().unwrap();
    let set: Vec<String> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap()))
        .collect();
    assert_eq!(set, ["pt-early 1", "pt-lib 1.2", "pt-mail 1", "pt-tool 1:1.0~rc1-1"]);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle", "-i", "inventory.toml"]);
    // Another cache, another time: the same bytes.
    site.ok("c2", &["lock"]);
    site.ok("c2", &["build", "-o", "again"]);
    assert_eq!(tree(&site.path("bundle")), tree(&site.path("again")));
    let shown = text(&site.bundle("c", &["--format", "json", "inspect", "bundle"]));
    let fingerprint = String::from_utf8(key.gpg(&["--list-keys", "--with-colons"])).unwrap();
    let fingerprint = fingerprint.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
    assert!(shown.contains("signed-repository") && shown.contains(fingerprint), "{shown}");
    // The inventory asks for more than is inside.
    ask(&site, "deb", "suite = \"stable\"\ncomponents = [\"main\"]\n", "[\"pt-tool\", \"pt-unused\"]");
    let said = site.fails(3, "c", &["verify", "bundle", "-i", "inventory.toml"]);
    assert!(said.contains("deb package pt-unused for amd64"), "{said}");
    // A package that is not what the repository signed for.
    let path = lock["package"][3]["url"].as_str().unwrap().strip_prefix(&site.upstream.base).unwrap();
    site.upstream.put(path, "application/octet-stream", "another package");
    let said = site.fails(3, "c3", &["build"]);
    assert!(said.contains("pt-tool") && said.contains("hashes to"), "{said}");
}

#[test]
fn the_packages_of_a_type_are_locked_anew_together() {
    let key = Key::new("Archive");
    let site = deb_site(&key, "[\"pt-tool\"]");
    let debs = debs();
    debs.publish(&site.upstream, &key, "");
    site.ok("c", &["lock"]);
    let read = || Lock::load(&site.path("bundle.lock.toml")).unwrap();
    let before = read();
    debs.add("pt-lib", "1.3", "Pre-Depends: pt-early\n", "");
    debs.publish(&site.upstream, &key, "");
    site.upstream.put("/runc/v1.0.0/runc.sha256sum", "text/plain", format!("{}  runc.amd64\n", "0".repeat(64)));
    let said = site.fails(3, "c", &["lock", "--update", "pt-lib"]);
    assert!(said.contains("--update deb") && read() == before, "{said}");
    let said = text(&site.bundle("c", &["lock", "--update", "deb"]));
    assert!(said.contains("deb/pt-lib 1.2 -> 1.3") && said.contains("0 added, 0 removed, 1 changed"), "{said}");
    let after = read();
    assert_eq!(after.packages.len(), before.packages.len());
    assert_eq!(Lock { packages: before.packages.clone(), ..after }, before);
}

#[test]
fn every_link_of_the_chain_is_checked() {
    let key = Key::new("Archive");
    let site = deb_site(&key, "[\"pt-tool\"]");
    let debs = debs();
    let good = || debs.publish(&site.upstream, &key, "Acquire-By-Hash: no\n");
    let refused = |what: &str, words: &[&str]| {
        // What was fetched once and was right is not fetched again.
        let _ = std::fs::remove_dir_all(site.path("fresh"));
        let said = site.fails(3, "fresh", &["lock"]);
        assert!(words.iter().all(|w| said.contains(w)) && said.contains("Hint:"), "{what}: {said}");
        assert!(!site.path("bundle.lock.toml").exists(), "{what}: a lock was written");
    };
    good();
    let inrelease = "/deb/dists/stable/InRelease";
    let signed = String::from_utf8(key.clearsign("SHA256:\n")).unwrap();
    for (what, text) in [
        ("edited", signed.replace("SHA256", "SHA257")),
        ("after the signature", format!("{signed}\nmore")),
        ("not signed", "SHA256:\n".to_owned()),
    ] {
        site.upstream.put(inrelease, "text/plain", text);
        let said = site.fails(3, "c", &["lock"]);
        assert!(said.contains("does not count") || said.contains("not a cleartext-signed"), "{what}: {said}");
    }
    let other = Key::new("Somebody");
    debs.publish(&site.upstream, &other, "");
    refused("wrong key", &["which is not in the keyring", "compare fingerprints"]);
    debs.publish(&site.upstream, &key, "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC\n");
    refused("expired", &["expired on 2022-01-01", "--allow-expired"]);
    site.ok("c", &["lock", "--allow-expired"]);
    std::fs::remove_file(site.path("bundle.lock.toml")).unwrap();
    good();
    site.upstream.put("/deb/dists/stable/main/binary-amd64/Packages.xz", "application/octet-stream", "x");
    refused("wrong index", &["Packages.xz", "hashes to"]);
    good();
    for (names, words) in [
        ("[\"pt-nothing\"]", ["no deb repository has the package pt-nothing", "Hint"]),
        ("[\"pt-torn\"]", ["no deb repository has pt-lib (>= 9), which pt-torn 1 needs", "there is only pt-lib 1.2"]),
        ("[\"pt-lacks\"]", ["has pt-gone, which pt-mid 1, which is needed by pt-lacks 1 needs", "Hint"]),
        ("[\"pt-tool\", \"pt-foe\"]", ["pt-foe 1 and pt-tool 1:1.0~rc1-1 exclude each other", "Hint"]),
    ] {
        ask(&site, "deb", "suite = \"stable\"\ncomponents = [\"main\"]\n", names);
        debs.add("pt-torn", "1", "Depends: pt-lib (>= 9)\n", "")
            .add("pt-lacks", "1", "Depends: pt-mid\n", "")
            .add("pt-mid", "1", "Depends: pt-gone\n", "")
            .add("pt-foe", "1", "Conflicts: pt-tool\n", "");
        good();
        refused(names, &words);
    }
    // A key that expired since.
    let listed = String::from_utf8(key.gpg(&["--list-keys", "--with-colons"])).unwrap();
    let fingerprint = listed.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
    ask(&site, "deb", "suite = \"stable\"\ncomponents = [\"main\"]\n", "[\"pt-tool\"]");
    key.gpg(&["--quick-set-expire", fingerprint, "seconds=1"]);
    key.export(&site.path("keys.gpg"), true);
    std::thread::sleep(std::time::Duration::from_secs(3));
    refused("expired key", &["is expired", fingerprint]);
    site.ok("c", &["lock", "--allow-expired"]);
}

#[test]
fn a_detached_signature_and_by_hash_paths_are_used() {
    let key = Key::new("Archive");
    let site = deb_site(&key, "[\"pt-early\"]");
    debs().publish(&site.upstream, &key, "Acquire-By-Hash: yes\n");
    // Nothing is published under its digest: asked for there, it is not found.
    assert!(site.fails(1, "c", &["lock"]).contains("/by-hash/SHA256/"));
    let release =
        b"SHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n";
    let site = deb_site(&key, "[\"pt-early\"]");
    site.upstream.put("/deb/dists/stable/Release", "text/plain", *release);
    site.upstream.put("/deb/dists/stable/Release.gpg", "text/plain", key.detach(release));
    site.upstream.put("/deb/dists/stable/main/binary-amd64/Packages", "text/plain", "");
    assert!(site.fails(3, "c", &["lock"]).contains("no deb repository has the package pt-early"));
    site.upstream.put("/deb/dists/stable/Release", "text/plain", [release.as_slice(), b"X: y\n"].concat());
    assert!(site.fails(3, "c", &["lock"]).contains("does not count"));
}

fn inventory_of(site: &Site) -> Inventory {
    let text = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    inventory::parse(&text).unwrap_or_else(|d| panic!("{}", inventory::render("test", &text, &d))).inventory
}

/// Real apt in a root of its own, without a network: installed, nothing to do, upgraded when the bundle is newer.
#[tokio::test(flavor = "multi_thread")]
async fn apt_installs_from_the_local_repository_without_a_network() {
    let key = Key::new("Archive");
    let site = deb_site(&key, "[\"pt-tool\"]");
    let debs = debs();
    debs.publish(&site.upstream, &key, "");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let root = Root::debian("apt");
    let inv = inventory_of(&site);
    let bundle = Bundle::open(&site.path("bundle")).unwrap();
    let done = root.apply(&inv, &bundle, "debian").await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(done.contains(&"packages/a/install".to_owned()), "{done:?}");
    assert_eq!(root.read("/usr/share/pt/pt-lib"), "1.2");
    assert_eq!(root.read("/pt-policy").trim(), "101", "a service would have been started");
    assert!(!root.path("/usr/sbin/policy-rc.d").exists());
    assert!(!root.path("/usr/share/pt/pt-unused").exists());
    assert_eq!(root.apply(&inv, &bundle, "debian").await.unwrap(), Vec::<String>::new());
    // A user's own apt, with all its sources, knows the packages too.
    let policy = root.shell("apt-get -q update -o Dir::Etc::sourceparts=/etc/apt/sources.list.d -o Dir::Etc::sourcelist=- && apt-cache policy pt-tool");
    assert!(policy.contains("file:/var/lib/provision/repo/deb"), "{policy}");
    // Only a dependency is newer: it is upgraded.
    debs.add("pt-lib", "1.3", "Pre-Depends: pt-early\n", "").publish(&site.upstream, &key, "");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    let newer = Bundle::open(&site.path("bundle")).unwrap();
    let done = root.apply(&inv, &newer, "debian").await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(done.contains(&"packages/a/install".to_owned()), "{done:?}");
    assert_eq!(root.read("/usr/share/pt/pt-lib"), "1.3");
    assert_eq!(root.apply(&inv, &newer, "debian").await.unwrap(), Vec::<String>::new());
    // A blob that was damaged on the node is found before it is used, and sent anew by the next run.
    root.shell("dpkg --purge pt-tool && printf x | dd conv=notrunc of=$(ls /var/lib/provision/repo/deb/pool/pt-mail*) && dpkg --purge pt-mail");
    let said = root.apply(&inv, &newer, "debian").await.unwrap_err().report();
    assert!(said.contains("damaged or missing"), "{said}");
    root.apply(&inv, &newer, "debian").await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(root.read("/usr/share/pt/pt-mail"), "1");
    // A system we know no way for is named, before anything is done.
    let said = root.apply(&inv, &newer, "plan9").await.unwrap_err().to_string();
    assert!(said.contains("plan9"), "{said}");
}

/// Real createrepo_c and dnf, the latter without a network.
#[tokio::test(flavor = "multi_thread")]
async fn dnf_installs_from_the_local_repository_without_a_network() {
    let key = Key::new("Archive");
    let rpms = Rpms::new();
    rpms.add(
        "pt-tool",
        "1.0",
        "Requires: pt-lib >= 1.2, /usr/bin/pt-file, (nobody or pt-mta)\nRequires: (pt-extra if pt-lib)",
    )
    .add("pt-lib", "1.2~rc1", "")
    .add("pt-lib", "1.10", "")
    .add("pt-file", "1", "")
    .add("pt-mail", "1", "Provides: pt-mta")
    .add("pt-extra", "1", "")
    .add("pt-unused", "1", "");
    for compression in ["gz", "xz", "zst"] {
        let site = rpm_site(&key, "[\"pt-tool\"]");
        rpms.publish(&site.upstream, &key, compression);
        site.ok("c", &["lock"]);
        let lock: toml::Table = std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap().parse().unwrap();
        let set: Vec<&str> = lock["package"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(set, ["pt-extra", "pt-file", "pt-lib", "pt-mail", "pt-tool"], "{compression}");
    }
    let site = rpm_site(&key, "[\"pt-tool\"]");
    rpms.publish(&site.upstream, &key, "gz");
    site.ok("c", &["lock"]);
    site.ok("c", &["build"]);
    site.ok("c", &["verify", "bundle", "-i", "inventory.toml"]);
    let root = Root::empty();
    let bundle = Bundle::open(&site.path("bundle")).unwrap();
    root.local_rpm(&inventory_of(&site), &bundle);
    assert_eq!(root.read("/usr/share/pt/pt-lib").trim(), "1.10");
    assert_eq!(root.read("/usr/share/pt/pt-extra").trim(), "1");
    assert!(!root.path("/usr/share/pt/pt-unused").exists());
    // An edited repomd.xml.
    let repomd = String::from_utf8(std::fs::read(rpms.dir.path().join("repodata/repomd.xml")).unwrap()).unwrap();
    site.upstream.put("/rpm/repodata/repomd.xml", "text/xml", repomd + "\n");
    assert!(site.fails(3, "c", &["lock"]).contains("does not count"));
}

/// Debian's own repository, keys and packages, beside a real Debian.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks the Debian mirror that DEBIAN_MIRROR names"]
async fn debians_own_packages_are_installed_without_a_network() {
    let key = Key::new("Archive");
    let site = deb_site(&key, "[]");
    let text = std::fs::read_to_string(site.path("inventory.toml")).unwrap();
    let mirror =
        std::env::var("DEBIAN_MIRROR").expect("DEBIAN_MIRROR is the base URL above /debian and /debian-security");
    let section = |name: &str, path: &str, suite: &str, names: &str| {
        format!(
            "\n[[packages.repository]]\nname = \"{name}\"\ntype = \"deb\"\nurl = \"{mirror}/{path}\"\nsuite = \"{suite}\"\n\
             components = [\"main\"]\nkeyring = \"/usr/share/keyrings/debian-archive-keyring.gpg\"\nnames = {names}\n"
        )
    };
    let text = text.split("[[packages").next().unwrap().to_owned()
        + &section("debian", "debian", "bookworm", "[\"conntrack\", \"socat\", \"ipvsadm\"]")
        + &section("security", "debian-security", "bookworm-security", "[]");
    std::fs::write(site.path("inventory.toml"), text).unwrap();
    site.ok("c", &["lock"]);
    println!(
        "{}",
        std::fs::read_to_string(site.path("bundle.lock.toml")).unwrap().split("[[package]]").nth(1).unwrap()
    );
    site.ok("c", &["build"]);
    let root = Root::debian("systemd");
    let bundle = Bundle::open(&site.path("bundle")).unwrap();
    let done = root.apply(&inventory_of(&site), &bundle, "debian").await.unwrap_or_else(|e| panic!("{}", e.report()));
    println!(
        "{} packages: {done:?}",
        bundle.manifest().artifacts.iter().filter(|a| a.name.starts_with("deb/")).count()
    );
    assert!(root.shell("socat -V").contains("socat version"));
}

fn said(package: &str, command: &mut Command) -> Result<std::process::Output, TestCaseError> {
    command.output().map_err(|e| TestCaseError::fail(format!("{e}; install the Debian package {package}")))
}

/// A version that dpkg takes: upstream begins with a digit.
fn version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-9][a-b0-1.+~]{0,6}(-[a-b0-1.+~]{1,4})?"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_are_in_the_order_of_dpkg(a in version(), b in version()) {
        let holds = |relation: &str| {
            said("dpkg", Command::new("dpkg").args(["--compare-versions", &a, relation, &b])).map(|o| o.status.success())
        };
        let order = if holds("lt")? { Ordering::Less } else if holds("eq")? { Ordering::Equal } else { Ordering::Greater };
        prop_assert_eq!(compare(PackageKind::Deb, &a, &b), order, "{} {}", a, b);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Many pairs for each start of rpm.
    #[test]
    fn versions_are_in_the_order_of_rpm(pairs in prop::collection::vec(("[a-b0-2.~^_]{1,8}", "[a-b0-2.~^_]{1,8}"), 1..120)) {
        let asked: Vec<String> = pairs.iter().map(|(a, b)| format!("rpm.vercmp(\"{a}\",\"{b}\")")).collect();
        let asked = format!("%{{lua:print(table.concat({{{}}}, \" \"))}}", asked.join(","));
        let out = said("rpm", Command::new("rpm").args(["--eval", &asked]))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let orders: Vec<&str> = text.split_whitespace().collect();
        prop_assert_eq!(orders.len(), pairs.len(), "{}", &text);
        for ((a, b), order) in pairs.iter().zip(orders) {
            prop_assert_eq!((compare(PackageKind::Rpm, a, b) as i32).to_string(), order, "{} {}", a, b);
        }
    }
}
