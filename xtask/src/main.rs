//! Parses the command line, runs the command, and renders what went wrong.

use std::{io::Write as _, process::exit};

use clap::Parser as _;
use xtask::{cli::Cli, commands, error};

fn main() {
    match commands::run(Cli::parse().command) {
        Ok(code) => exit(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", error::render(&error).trim_end());
            exit(error::exit_code(&error));
        }
    }
}
