#![expect(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;

use super::*;
use crate::error::Kind;

fn member(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: EntryType, body: &[u8]) {
    let mut header = Header::new_ustar();
    // Raw, because the builder refuses what a hostile archive would hold.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, body).unwrap();
}

fn good() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    member(&mut tar, "bundle.json", EntryType::Regular, b"{}");
    member(&mut tar, "./blobs/sha256/", EntryType::Directory, b"");
    member(&mut tar, "./blobs/sha256/aa", EntryType::Regular, &[7; 700]);
    tar.into_inner().unwrap()
}

fn indexed(bytes: &[u8]) -> Result<BTreeMap<String, Blob>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    std::fs::write(&path, bytes).unwrap();
    index(&Blob::of_file(&path)?, &path)
}

#[test]
fn members_lie_where_they_are_said_to() {
    let bytes = good();
    let files = indexed(&bytes).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["blobs/sha256/aa", "bundle.json"]);
    let [piece] = files["blobs/sha256/aa"].pieces.as_slice() else { panic!() };
    assert_eq!(&bytes[piece.offset as usize..][..piece.len as usize], [7; 700]);
    // As GNU tar ends an archive: filled up to its record's size.
    let mut padded = bytes;
    padded.resize(10240, 0);
    assert_eq!(indexed(&padded).unwrap().len(), 2);
}

#[test]
fn every_trick_is_refused_by_name() {
    let file = EntryType::Regular;
    for (name, kind, said) in [
        ("../out", file, "leads out"),
        ("/etc/out", file, "leads out"),
        ("a/../../out", file, "leads out"),
        ("a//b", file, "leads out"),
        ("a/./b", file, "leads out"),
        ("..", EntryType::Directory, "leads out"),
        ("/", file, "leads out"),
        ("a\nb", file, "leads out"),
        ("bundle.json", file, "twice"),
        ("./bundle.json", file, "twice"),
        ("blobs/sha256/aa/b", file, "as a file and as a directory"),
        ("blobs", file, "as a file and as a directory"),
        ("link", EntryType::Symlink, "neither file nor directory"),
        ("link", EntryType::Link, "neither file nor directory"),
        ("device", EntryType::Char, "neither file nor directory"),
        ("pipe", EntryType::Fifo, "neither file nor directory"),
        ("sparse", EntryType::GNUSparse, "neither file nor directory"),
        ("././@LongLink", EntryType::GNULongName, "longer"),
        ("x", EntryType::XHeader, "extended header"),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        member(&mut tar, "bundle.json", file, b"{}");
        member(&mut tar, "blobs/sha256/aa", file, b"a");
        member(&mut tar, name, kind, b"18 path=elsewhere\n");
        let error = indexed(&tar.into_inner().unwrap()).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(said), "{name}: {error}");
    }
    // Times that other programs write are no trick.
    let mut tar = tar::Builder::new(Vec::new());
    member(&mut tar, "x", EntryType::XHeader, b"20 mtime=1700000.25\n");
    member(&mut tar, "bundle.json", file, b"{}");
    assert_eq!(indexed(&tar.into_inner().unwrap()).unwrap().len(), 1);
}

#[test]
fn what_is_cut_anywhere_is_refused() {
    let bytes = good();
    for len in (0..bytes.len()).step_by(61).chain([512, 1024, 1536, bytes.len() - 512, bytes.len() - 1]) {
        let error = indexed(&bytes[..len]).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains("ends too early"), "{len}: {error}");
    }
    assert!(indexed(b"not a tar at all, and long enough to be one".repeat(40).as_slice()).is_err());
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = good();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        match indexed(&bytes) {
            Ok(files) => prop_assert!(files.keys().all(|n| fits(n))),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Invalid),
        }
    }

    #[test]
    fn no_header_makes_it_panic(fields in proptest::collection::vec((0..512_usize, any::<u8>()), 0..64), size in any::<u64>()) {
        let mut header = Header::new_gnu();
        header.set_size(size);
        for (at, byte) in fields {
            header.as_mut_bytes()[at] = byte;
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(4096, 0);
        if let Err(error) = indexed(&bytes) {
            prop_assert_eq!(error.kind(), Kind::Invalid);
        }
    }
}
