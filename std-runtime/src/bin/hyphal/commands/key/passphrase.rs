//! Where a passphrase comes from: the terminal, unseen, or a file for scripts; never an argument, which others can see.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::super::signals;
use crate::cli::PassphraseFlags;
use crate::output::{Exit, Failure};

/// The fewest characters of a passphrase that is chosen. It is no measure of a good one; it finds the empty ones.
const SHORTEST: usize = 8;
const LONGEST: u64 = 1024;

/// A passphrase for something new: asked for twice, and not too short.
pub(super) fn choose(flags: &PassphraseFlags) -> Result<Zeroizing<String>, Failure> {
    let chosen = ask(flags)?;
    if chosen.chars().count() < SHORTEST {
        return Err(Failure::new(
            Exit::Usage,
            format!("the passphrase has fewer than {SHORTEST} characters"),
            "take six words that nobody else would put together, and write them down in another place than the backup",
        ));
    }
    if flags.passphrase_file.is_none() && *prompt("Passphrase again: ")? != *chosen {
        return Err(Failure::new(Exit::Usage, "the two passphrases differ", "try again"));
    }
    Ok(chosen)
}

/// A passphrase that exists.
pub(super) fn ask(flags: &PassphraseFlags) -> Result<Zeroizing<String>, Failure> {
    match &flags.passphrase_file {
        Some(path) => read(path).map_err(|error| {
            let message = format!("cannot read the passphrase from {}: {error}", path.display());
            Failure::new(Exit::Setup, message, "name a file whose first line is the passphrase, or /dev/fd/N")
        }),
        None => prompt("Passphrase: "),
    }
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    // It raises the signal while the terminal shows nothing of what is typed; a process that ended by it would leave it so.
    let asked = signals::outlive_ctrl_c().and_then(|()| rpassword::prompt_password(question));
    asked.map(Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => Failure::new(
            Exit::Interrupted,
            "interrupted before a passphrase was given; nothing was written",
            "",
        ),
        io::ErrorKind::UnexpectedEof => Failure::new(
            Exit::Usage,
            "no passphrase was typed",
            "type it and press Enter, or pass --passphrase-file PATH",
        ),
        _ => Failure::new(
            Exit::Setup,
            format!("there is no terminal to ask for the passphrase at: {error}"),
            "pass --passphrase-file PATH",
        ),
    })
}

/// The first line of the file.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // Reserved at once: a growing vector would leave copies in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if line.len() as u64 > LONGEST {
        return Err(invalid("the first line is longer than 1,024 bytes"));
    }
    let text = std::str::from_utf8(line).map_err(|_| invalid("the first line is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
