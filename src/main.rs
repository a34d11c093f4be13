//! The `provision` program: parse, run, print the error, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use provision::cli::{args::Cli, run};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // Nothing is left to tell when even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(if usage { 64 } else { 0 });
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.kind().exit_code())
        }
    }
}
