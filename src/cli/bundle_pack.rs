//! `provision bundle pack`, `unpack`, and where bundles are written to

use std::path::{Path, PathBuf};

use super::args::{FormArg, Global, OutArg};
use super::bundle::sink;
use crate::bundle::{self, Form, Output, Written};
use crate::error::{Error, Kind, Result};

/// Where and in which form; `--split` and a name that ends in `.tar` mean a tar.
pub(super) fn output(arg: &OutArg) -> Result<Output> {
    let tar = arg.out.extension().is_some_and(|e| e == "tar");
    let form = match (arg.form, arg.split) {
        (Some(FormArg::Dir), Some(_)) => {
            return Err(Error::new(Kind::Usage, "a directory is not split into volumes").hint("leave out --form dir"));
        }
        (_, Some(size)) => Form::Volumes(size),
        (Some(FormArg::Tar), None) => Form::Tar,
        (None, None) if tar => Form::Tar,
        (Some(FormArg::Dir) | None, None) => Form::Directory,
    };
    Ok(Output { place: arg.out.clone(), form })
}

pub(super) async fn pack(bundle: &Path, out: PathBuf, split: Option<u64>, global: &Global) -> Result<()> {
    let out = Output { place: out, form: split.map_or(Form::Tar, Form::Volumes) };
    let written = bundle::pack(bundle, &out, sink(global)).await?;
    tell(&out, written);
    Ok(())
}

pub(super) async fn unpack(bundle: &Path, out: PathBuf, global: &Global) -> Result<()> {
    let out = Output { place: out, form: Form::Directory };
    let written = bundle::pack(bundle, &out, sink(global)).await?;
    tell(&out, written);
    Ok(())
}

/// Says what was written.
pub(super) fn tell(out: &Output, written: Written) {
    let (place, mb) = (out.place.display(), written.bytes.div_ceil(1_000_000));
    match out.form {
        Form::Volumes(_) => println!("{place}.001 to .{:03}: {mb} MB in {} volumes", written.volumes, written.volumes),
        Form::Directory | Form::Tar => println!("{place}: {mb} MB"),
    }
}
