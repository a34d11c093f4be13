//! All probes of a host as one shell script, and the answers out of what it printed. Both halves are pure.
//!
//! The script needs coreutils and systemd only. Each answer is one line: the probe's number, a word, and fields; what
//! may hold anything is base64.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::api::NODE_BLOB_DIR;
use super::command::shell_quote;
use super::probe::{Answer, FileKind, FileState, Probe, UnitState};
use crate::error::{Error, Result};

const PRELUDE: &str = concat!(
    include_str!("sha256.sh"),
    r#"export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
up=$(cut -d' ' -f1 /proc/uptime | tr -d .)
boot_us=$(($(date +%s%6N) - up * 10000))
b64() { base64 -w0; }
file() {
    if [ -L "$2" ]; then echo "$1 link $(stat -c '%a %u %g %s %.Y' -- "$2") $(readlink -- "$2" | b64)"
    elif [ -f "$2" ]; then
        s=$(stat -c '%a %u %g %s %.Y' -- "$2") || { echo "$1 absent"; return; }
        c=-
        [ "$3" = 1 ] && c=+$(head -c 1048576 -- "$2" | b64)
        echo "$1 file $s $(sha256 "$2") $c"
    elif [ -d "$2" ]; then echo "$1 dir $(stat -c '%a %u %g %s %.Y' -- "$2")"
    elif [ -e "$2" ]; then echo "$1 other $(stat -c '%a %u %g %s %.Y' -- "$2")"
    else echo "$1 absent"; fi
}
unit() {
    p=$(systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -p ExecMainStartTimestampMonotonic "$2" 2>/dev/null)
    v() { printf '%s\n' "$p" | sed -n "s/^$1=//p"; }
    case $(v LoadState) in "" | not-found) echo "$1 absent"; return ;; esac
    m=$(v ExecMainStartTimestampMonotonic)
    [ "${m:-0}" = 0 ] && s=0 || s=$((boot_us + m))
    e=$(v UnitFileState)
    echo "$1 unit $(v ActiveState) ${e:--} $(v NeedDaemonReload) $s"
}
sysctl_() { if [ -r "$2" ]; then echo "$1 sysctl $(tr -s '\t\n ' '   ' <"$2" | sed 's/ *$//' | b64)"; else echo "$1 absent"; fi; }
dir() { if [ -d "$2" ]; then echo "$1 names $(ls -1A -- "$2" | b64)"; else echo "$1 absent"; fi; }
blob() { if s=$(stat -c %s -- "$2" 2>/dev/null); then echo "$1 blob $s"; else echo "$1 absent"; fi; }
images() { if o=$(timeout 20 ctr -n k8s.io images ls 2>/dev/null); then echo "$1 images $(printf %s "$o" | b64)"; else echo "$1 absent"; fi; }
shell() {
    timeout 60 sh -c "$2" >"$t/o" 2>"$t/e" </dev/null
    echo "$1 shell $? +$(b64 <"$t/o") +$(tail -c 4096 "$t/e" | b64)"
}
"#
);

/// The script that answers `probes`.
#[must_use]
pub fn render(probes: &[Probe]) -> String {
    let mut script = String::from(PRELUDE);
    for (n, probe) in probes.iter().enumerate() {
        let _ = match probe {
            Probe::File(path) => writeln!(script, "file {n} {} 0", shell_quote(path)),
            Probe::Content(path) => writeln!(script, "file {n} {} 1", shell_quote(path)),
            Probe::Unit(name) => writeln!(script, "unit {n} {}", shell_quote(name)),
            Probe::Sysctl(key) => {
                writeln!(script, "sysctl_ {n} {}", shell_quote(&format!("/proc/sys/{}", key.replace('.', "/"))))
            }
            Probe::Dir(path) => writeln!(script, "dir {n} {}", shell_quote(path)),
            Probe::Blob(digest) => writeln!(script, "blob {n} {NODE_BLOB_DIR}/{}", digest.hex()),
            Probe::Images => writeln!(script, "images {n}"),
            Probe::Shell(text) => writeln!(script, "shell {n} {}", shell_quote(text)),
        };
    }
    script.push_str("echo end\n");
    script
}

/// The answers in what [`render`]'s script printed. An output that is cut short is an error, never a short list.
pub fn parse(probes: &[Probe], stdout: &str) -> Result<Vec<Answer>> {
    let bad = |what: &str| Error::failed(format!("failed to read the answers of the host: {what}"));
    let mut answers: Vec<Option<Answer>> = vec![None; probes.len()];
    let mut ended = false;
    for line in stdout.lines() {
        if line == "end" {
            ended = true;
            break;
        }
        let mut words = line.split(' ');
        let slot = words.next().and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < probes.len());
        let slot = slot.ok_or_else(|| bad("a line without its number"))?;
        let fields: Vec<&str> = words.collect();
        answers[slot] = Some(answer(&fields).ok_or_else(|| bad(&format!("the answer to {:?}", probes[slot])))?);
    }
    if !ended {
        return Err(bad("it ends too early"));
    }
    answers.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| bad("an answer is missing"))
}

fn answer(fields: &[&str]) -> Option<Answer> {
    Some(match fields {
        ["absent"] => Answer::Absent,
        ["file", rest @ ..] => {
            let [mode, uid, gid, size, mtime, digest, content] = rest else { return None };
            let mut state = stat(FileKind::File, &[mode, uid, gid, size, mtime])?;
            state.digest = Some(digest.parse().ok()?);
            state.content = content.strip_prefix('+').map(decode).transpose_option()?;
            Answer::File(state)
        }
        ["link", rest @ ..] => {
            let [mode, uid, gid, size, mtime, target] = rest else { return None };
            let mut state = stat(FileKind::Link, &[mode, uid, gid, size, mtime])?;
            state.target = Some(text(target)?.trim_end_matches('\n').to_owned());
            Answer::File(state)
        }
        ["dir", rest @ ..] => Answer::File(stat(FileKind::Dir, rest)?),
        ["other", rest @ ..] => Answer::File(stat(FileKind::Other, rest)?),
        ["unit", active, enabled, reload, started] => Answer::Unit(UnitState {
            active: (*active).to_owned(),
            enabled: if *enabled == "-" { String::new() } else { (*enabled).to_owned() },
            needs_reload: *reload == "yes",
            started_us: started.parse().ok()?,
        }),
        ["sysctl", value] => Answer::Sysctl(text(value)?),
        ["names", names] => {
            let mut all: Vec<String> = text(names)?.lines().map(str::to_owned).collect();
            all.sort();
            Answer::Dir(all)
        }
        ["blob", size] => Answer::Blob(size.parse().ok()?),
        ["images", table] => Answer::Images(images(&text(table)?)),
        ["shell", code, stdout, stderr] => Answer::Shell {
            code: code.parse().ok()?,
            stdout: text(stdout.strip_prefix('+')?)?,
            stderr: text(stderr.strip_prefix('+')?)?,
        },
        _ => return None,
    })
}

/// `Option<Option<T>>` to "absent, or decoded, or broken".
trait TransposeOption<T> {
    fn transpose_option(self) -> Option<Option<T>>;
}
impl<T> TransposeOption<T> for Option<Option<T>> {
    fn transpose_option(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(some) => Some(some),
        }
    }
}

fn stat(kind: FileKind, fields: &[&str]) -> Option<FileState> {
    let [mode, uid, gid, size, mtime] = fields else { return None };
    let (seconds, fraction) = mtime.split_once('.').unwrap_or((mtime, "0"));
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(FileState {
        kind,
        mode: u32::from_str_radix(mode, 8).ok()?,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        size: size.parse().ok()?,
        mtime_us: seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?,
        digest: None,
        content: None,
        target: None,
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

fn text(base64: &str) -> Option<String> {
    decode(base64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the table of `ctr images ls`: the first column is the name, the one that begins with `sha256:` the digest.
fn images(table: &str) -> BTreeMap<String, String> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let digest = words.find(|w| w.starts_with("sha256:"))?;
            Some((name.to_owned(), digest.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::bundle::Digest;

    fn run_here(probes: &[Probe]) -> Result<Vec<Answer>> {
        let mut child = std::process::Command::new("sh")
            .arg("-s")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .map_err(|e| Error::failed(e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(render(probes).as_bytes()).map_err(|e| Error::failed(e.to_string()))?;
        }
        let out = child.wait_with_output().map_err(|e| Error::failed(e.to_string()))?;
        parse(probes, &String::from_utf8_lossy(&out.stdout))
    }

    #[test]
    fn the_script_answers_on_this_machine() -> Result<()> {
        let dir = tempfile::tempdir().map_err(|e| Error::failed(e.to_string()))?;
        let path = dir.path().join("a b'c");
        let odd = b"line\n\x00\xff'end";
        std::fs::write(&path, odd).map_err(|e| Error::failed(e.to_string()))?;
        let path = path.to_string_lossy().into_owned();
        let probes = [
            Probe::Content(path.clone()),
            Probe::File("/nonexistent".into()),
            Probe::Dir(dir.path().to_string_lossy().into_owned()),
            Probe::Shell("echo \"it's $1\"; echo err >&2; exit 7".into()),
            Probe::Sysctl("kernel.ostype".into()),
            Probe::Blob(Digest::of(b"not there")),
        ];
        let answers = run_here(&probes)?;
        let Answer::File(file) = &answers[0] else { return Err(Error::failed("no file")) };
        assert_eq!(file.content.as_deref(), Some(odd.as_slice()));
        assert_eq!(file.digest, Some(Digest::of(odd)));
        assert!(file.mtime_us > 1_700_000_000_000_000);
        assert_eq!(answers[1], Answer::Absent);
        assert_eq!(answers[2], Answer::Dir(vec!["a b'c".into()]));
        assert_eq!(answers[3], Answer::Shell { code: 7, stdout: "it's \n".into(), stderr: "err\n".into() });
        assert_eq!(answers[4], Answer::Sysctl("Linux".into()));
        assert_eq!(answers[5], Answer::Absent);
        Ok(())
    }

    #[test]
    fn a_cut_output_is_an_error() {
        let probes = [Probe::File("/a".into())];
        assert!(parse(&probes, "0 absent\nend\n").is_ok());
        assert!(parse(&probes, "0 absent\n").is_err());
        assert!(parse(&probes, "end\n").is_err());
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parser_panic(text in "(\\PC|\n){0,200}") {
            let _ = parse(&[Probe::Images, Probe::File("/a".into())], &text);
        }

        #[test]
        fn any_path_is_quoted(path in "/[ -~]{0,20}") {
            let answers = run_here(&[Probe::File(format!("/nonexistent{path}"))]);
            prop_assert_eq!(answers.ok(), Some(vec![Answer::Absent]));
        }
    }
}
