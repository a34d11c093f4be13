//! Inventory files: samples, golden diagnostics, the schema in the repository, and any text at all.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use provision::error::Kind;
use provision::inventory::{self, Diagnostic, Inventory};

type Tested = Result<(), Box<dyn Error>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The TOML files of a directory of the repository, with their names.
fn files(dir: &str) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(dir))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{dir} holds no inventories");
    Ok(found)
}

/// Compares with the `.golden` file beside the TOML file; UPDATE_GOLDEN=1 rewrites it.
fn golden(path: &Path, actual: &str) -> Tested {
    let path = path.with_extension("golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual)?;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
    Ok(())
}

#[test]
fn every_sample_validates_without_warnings() -> Tested {
    for (name, text) in files("inventories")? {
        let loaded = inventory::parse(&text).map_err(|d| inventory::render(&name, &text, &d))?;
        assert_eq!(loaded.warnings, [], "{name}");
        assert!(!loaded.inventory.control_planes().is_empty());
    }
    Ok(())
}

#[test]
fn valid_files_give_just_these_warnings() -> Tested {
    for (name, text) in files("tests/inventory/valid")? {
        let loaded = inventory::parse(&text).map_err(|d| inventory::render(&name, &text, &d))?;
        let shown = inventory::render(&name, &text, &loaded.warnings);
        golden(&root().join("tests/inventory/valid").join(&name), &shown)?;
    }
    Ok(())
}

#[test]
fn invalid_files_give_just_these_diagnostics() -> Tested {
    for (name, text) in files("tests/inventory/invalid")? {
        let diagnostics = inventory::parse(&text).err().ok_or_else(|| format!("{name} is valid"))?;
        let shown = inventory::render(&name, &text, &diagnostics);
        assert!(!shown.contains("hunter2"), "a secret is shown:\n{shown}");
        golden(&root().join("tests/inventory/invalid").join(&name), &shown)?;
    }
    Ok(())
}

/// The walk over the tree and serde read the same.
#[test]
fn the_inventory_is_what_serde_reads() -> Tested {
    for (name, text) in files("inventories")?.into_iter().chain(files("tests/inventory/valid")?) {
        let ours = inventory::parse(&text).map_err(|d| inventory::render(&name, &text, &d))?;
        assert_eq!(ours.inventory, toml::from_str::<Inventory>(&text)?, "{name}");
    }
    Ok(())
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() -> Tested {
    let path = root().join("inventories/inventory.schema.json");
    let actual = serde_json::to_string_pretty(&inventory::schema())? + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &actual)?;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} is out of date; UPDATE_SCHEMA=1 rewrites it", path.display());
    Ok(())
}

#[test]
fn files_that_cannot_be_read_are_invalid_with_a_hint() -> Tested {
    let dir = tempfile::tempdir()?;
    let latin = dir.path().join("latin1.toml");
    fs::write(&latin, b"[cluster]\nname = \"\xe9\"\n")?;
    for path in [&dir.path().join("missing.toml"), &latin, dir.path()] {
        let error = inventory::load(path).err().ok_or("it was read")?;
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(!error.hints().is_empty(), "{}", error.report());
    }
    let error = inventory::load(&root().join("tests/inventory/invalid/hosts.toml")).err().ok_or("it was read")?;
    assert!(error.report().contains("hosts.toml:"), "{}", error.report());
    Ok(())
}

#[test]
fn init_writes_a_valid_inventory_and_overwrites_nothing() -> Tested {
    let dir = tempfile::tempdir()?;
    let target = dir.path().join("new");
    provision::cli::init(&target)?;
    let file = target.join("inventory.toml");
    assert_eq!(inventory::load(&file)?.warnings, []);
    fs::write(&file, "mine")?;
    assert_eq!(provision::cli::init(&target).err().map(|e| e.kind()), Some(Kind::Refused));
    assert_eq!(fs::read_to_string(&file)?, "mine");
    Ok(())
}

#[test]
fn a_key_file_that_is_not_there_is_a_warning() -> Tested {
    let dir = tempfile::tempdir()?;
    let (file, key) = (dir.path().join("inventory.toml"), dir.path().join("id"));
    let jump = "jump = { address = \"bastion.example\", key_file = \"/nowhere/jump\" }";
    let defaults = format!("[defaults]\nkey_file = \"{}\"\n{jump}\n", key.display());
    fs::write(&file, format!("{}\n{defaults}", include_str!("inventory/valid/smallest.toml")))?;
    let warned = |loaded: &inventory::Loaded| -> Vec<String> {
        loaded.warnings.iter().map(|w| loaded.text.get(w.span.clone()).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(warned(&inventory::load(&file)?), [format!("\"{}\"", key.display()), "\"/nowhere/jump\"".into()]);
    fs::write(&key, "")?;
    assert_eq!(warned(&inventory::load(&file)?), ["\"/nowhere/jump\""]);
    Ok(())
}

#[test]
fn the_ca_of_a_registry_is_read_beside_the_inventory_and_holds_no_key() -> Tested {
    let dir = tempfile::tempdir()?;
    let (file, ca) = (dir.path().join("inventory.toml"), dir.path().join("ca.crt"));
    let registry = "[registry]\nmode = \"external\"\nurls = [\"https://r.example\"]\nca_file = \"ca.crt\"\n";
    fs::write(&file, format!("{}\n{registry}", include_str!("inventory/valid/smallest.toml")))?;
    let refused = || inventory::load(&file).err().map(|e| (e.kind(), e.report()));
    assert!(refused().is_some_and(|(kind, said)| kind == Kind::Invalid && said.contains("ca.crt")));
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for bad in ["nothing", &format!("{pem}-----BEGIN PRIVATE KEY-----\nhunter2\n")] {
        fs::write(&ca, bad)?;
        assert!(refused().is_some_and(|(kind, said)| kind == Kind::Invalid && !said.contains("hunter2")));
    }
    fs::write(&ca, pem)?;
    assert_eq!(inventory::load(&file)?.inventory.registry.ca.as_deref(), Some(pem));
    Ok(())
}

/// The CA of somebody else is a certificate alone; each problem has its place in the file.
#[test]
fn the_cas_of_somebody_else_are_read_beside_the_inventory_and_hold_no_key() -> Tested {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("inventory.toml");
    let table =
        "[certificates]\nmode = \"external\"\nca = \"ca.crt\"\nfront_proxy_ca = \"fp.crt\"\netcd_ca = \"etcd.crt\"\n";
    let text = format!("{}\n{table}", include_str!("inventory/valid/smallest.toml"));
    fs::write(&file, &text)?;
    let line = text.lines().position(|l| l.starts_with("ca = ")).unwrap_or_default() + 1;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    let leaf = params.clone().self_signed(&key)?.pem();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key)?.pem();
    for name in ["fp.crt", "etcd.crt"] {
        fs::write(dir.path().join(name), &ca)?;
    }
    let wrong = |content: Option<&str>| -> Result<String, Box<dyn Error>> {
        let path = dir.path().join("ca.crt");
        content.map_or_else(|| Ok(()), |c| fs::write(&path, c))?;
        let error = inventory::load(&file).err().ok_or("it was read")?;
        assert_eq!(error.kind(), Kind::Invalid);
        let said = error.report();
        assert!(said.contains(&format!("inventory.toml:{line}:6")), "{said}");
        assert!(!said.contains(&key.serialize_pem()[40..60]), "{said}");
        Ok(said)
    };
    assert!(wrong(None)?.contains("failed to read ca.crt"));
    assert!(wrong(Some(&format!("{ca}{}", key.serialize_pem())))?.contains("ca.crt holds a private key"));
    assert!(wrong(Some(&leaf))?.contains("ca.crt does not hold the certificate of a CA"));
    for bad in ["", "hello", &ca.repeat(2)] {
        assert!(wrong(Some(bad))?.contains("ca.crt does not hold one certificate in PEM"));
    }
    fs::write(dir.path().join("ca.crt"), format!("Certificate:\n    Data:\n{}", ca.replace('\n', "\r\n")))?;
    let loaded = inventory::load(&file)?;
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.inventory.certificates.authorities.ca.as_deref(), Some(ca.replace('\r', "").as_str()));
    Ok(())
}

fn holds(text: &str, diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    for d in diagnostics {
        prop_assert!(text.get(d.span.clone()).is_some_and(|t| !t.contains('\n')), "{d:?}");
        prop_assert!(d.line >= 1 && d.column >= 1 && d.line <= text.matches('\n').count() + 1);
        prop_assert!(!d.message.is_empty() && !d.help.is_empty(), "{d:?}");
    }
    let shown = inventory::render("x.toml", text, diagnostics);
    prop_assert!(!shown.contains("hunter2"), "{shown}");
    prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    Ok(())
}

fn judged(text: &str) -> Result<(), TestCaseError> {
    match inventory::parse(text) {
        Ok(loaded) => holds(text, &loaded.warnings),
        Err(diagnostics) => {
            prop_assert!(!diagnostics.is_empty());
            holds(text, &diagnostics)
        }
    }
}

/// One TOML value of any type.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f32>().prop_map(|n| format!("{n:?}").replace("NaN", "nan")),
        any::<bool>().prop_map(|b| b.to_string()),
        "[ -~]{0,12}".prop_map(|s| format!("{s:?}")),
        Just("[]".into()),
        Just("{}".into()),
        Just("[{}, 1, \"a\", nan]".into()),
        Just("1979-05-27T07:32:00Z".into()),
        Just("\"::/0\"".into()),
        Just("\"https://me:hunter2@mirror.example/?q\"".into()),
        Just("[\"http://me:hunter2@192.168.10.31:2379/\"]".into()),
        Just("\"0.0.0.0/0\"".into()),
        Just("99999999999999999999".into()),
        Just("\"\"".into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_file_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), &bytes)?;
        if let Err(error) = inventory::load(file.path()) {
            prop_assert_eq!(error.kind(), Kind::Invalid);
        }
    }

    #[test]
    fn any_text_is_judged(text in "(?s).{0,120}") {
        judged(&text)?;
    }

    #[test]
    fn a_sample_with_some_of_it_cut_out_is_judged(at in 0usize..4000, length in 0usize..60, put in "(?s).{0,4}") {
        let chars: Vec<char> = inventory::SAMPLE.chars().collect();
        let at = at % chars.len();
        let text: String = chars[..at].iter().copied().chain(put.chars()).chain(chars.iter().copied().skip(at + length)).collect();
        judged(&text)?;
    }

    #[test]
    fn a_sample_with_any_value_is_judged(which in 0usize..200, put in value()) {
        let full = include_str!("inventory/valid/every-table.toml");
        let lines: Vec<&str> = full.lines().collect();
        let set: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].contains(" = ")).collect();
        let target = set[which % set.len()];
        let text: String = lines.iter().enumerate().map(|(i, line)| match line.split_once(" = ") {
            Some((key, _)) if i == target => format!("{key} = {put}\n"),
            _ => format!("{line}\n"),
        }).collect();
        judged(&text)?;
    }
}
