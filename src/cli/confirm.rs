//! Questions to whoever sits at the terminal, before anything is changed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::{Context as _, Error, Result};

/// Asks for a yes. `command` is what asks, `before` what it would do next, and `first` what to look at instead of a
/// terminal.
///
/// Errors (`Refused`): another answer, or no terminal to ask on.
pub(super) fn yes(command: &str, before: &str, first: &str, question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::refused(format!("{command} asks before it {before}, and there is no terminal to ask on"))
            .hint(format!("look at {first} and run it again with --yes")));
    }
    if answer(&format!("{question} Type yes: "))? == "yes" {
        Ok(())
    } else {
        Err(Error::refused("not confirmed; nothing was changed"))
    }
}

/// Wants `expected` typed, after `warning`; `given` takes the place of the answer.
///
/// Errors (`Refused`): something else was typed or given, or there is no terminal and nothing was given.
pub(super) fn typed(expected: &str, given: Option<&str>, warning: &str) -> Result<()> {
    let typed = match given {
        Some(text) => text.to_owned(),
        None if std::io::stdin().is_terminal() => answer(&format!("{warning}\nType `{expected}` to go on: "))?,
        None => String::new(),
    };
    if typed == expected {
        return Ok(());
    }
    Err(Error::refused("not confirmed; nothing was changed")
        .hint(format!("type it at the prompt, or give --confirm {expected}")))
}

fn answer(question: &str) -> Result<String> {
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context(|| "failed to read the answer".into())?;
    Ok(line.trim().to_owned())
}
