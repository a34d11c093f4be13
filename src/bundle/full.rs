//! Writing to a disk that may be full: one error wherever a bundle, a lock or the cache is written.

use std::io;
use std::path::Path;

use super::fetch::cache_dir;
use crate::error::{Error, Result};

/// Names what was being written when it failed.
pub(crate) trait Writing<T> {
    /// The error says that `path` could not be written. A full disk or a used-up quota makes it `Invalid` and gives it
    /// a hint; `wanted` are the bytes that were to be written there in all, when that is known.
    fn writing(self, path: &Path, wanted: Option<u64>) -> Result<T>;
}

impl<T> Writing<T> for io::Result<T> {
    fn writing(self, path: &Path, wanted: Option<u64>) -> Result<T> {
        self.map_err(|error| {
            let failed = format!("failed to write {}", path.display());
            let why = match error.kind() {
                io::ErrorKind::StorageFull => "no space is left on its file system",
                io::ErrorKind::QuotaExceeded => "the quota on its file system is used up",
                io::ErrorKind::FileTooLarge => {
                    return Error::failed(format!("{failed}: its file system takes no file that large"))
                        .source(error)
                        .hint("nothing of it was kept; `--split SIZE` writes smaller files");
                }
                _ => return Error::failed(failed).source(error),
            };
            let wanted = wanted.map_or_else(String::new, |n| format!(" ({n} bytes wanted)"));
            let cache = cache_dir();
            let hint = if path.starts_with(&cache) {
                format!("free some space there and run the same command again; {} is the cache, PROVISION_CACHE moves it", cache.display())
            } else {
                "free some space there, or name another place, and run the same command again; nothing half-written is ever used".to_owned()
            };
            Error::invalid(format!("{failed}: {why}{wanted}")).source(error).hint(hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn said(code: i32) -> (Option<Kind>, String) {
        let failed: io::Result<()> = Err(io::Error::from_raw_os_error(code));
        let error = failed.writing(Path::new("/place/x"), Some(7)).err();
        (error.as_ref().map(Error::kind), error.map(|e| e.report()).unwrap_or_default())
    }

    #[test]
    fn a_full_disk_and_a_quota_are_named() {
        let (kind, text) = said(rustix::io::Errno::NOSPC.raw_os_error());
        assert_eq!(kind, Some(Kind::Invalid));
        assert!(
            text.starts_with("Error: failed to write /place/x: no space is left on its file system (7 bytes wanted)")
        );
        assert!(text.contains("Hint: free some space"), "{text}");
        let (kind, text) = said(rustix::io::Errno::DQUOT.raw_os_error());
        assert!(kind == Some(Kind::Invalid) && text.contains("the quota") && text.contains("Hint:"), "{text}");
        let (kind, text) = said(rustix::io::Errno::FBIG.raw_os_error());
        assert!(kind == Some(Kind::Failed) && text.contains("--split"), "{text}");
        let (kind, text) = said(rustix::io::Errno::IO.raw_os_error());
        assert!(kind == Some(Kind::Failed) && !text.contains("Hint:"), "{text}");
    }
}
