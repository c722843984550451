//! `waybill`, the compiler: the commands, each in a file of [`command`]. Exit codes: 0 nothing to do, 1 errors,
//! 2 something differs; of `plan` and `apply` also 3 refused, 4 the world moved, 5 partly done.

mod command;

use clap::Parser;
use command::{Command, Outcome};
use compiler::diagnostic::printable;
use std::io::{self, Write};
use std::process::ExitCode;

/// The compiler of Waybill: a mail platform from a Git repository.
#[derive(Parser)]
#[command(name = "waybill", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // 2 would mean "differs"; help and version are no errors.
            let failed = error.use_stderr();
            let _ = error.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.command.run() {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Differs) => ExitCode::from(2),
        Ok(Outcome::Refused) => ExitCode::from(3),
        Ok(Outcome::Moved) => ExitCode::from(4),
        Ok(Outcome::Partly) => ExitCode::from(5),
        // A reader that has seen enough, `waybill … | head`, is no failure of ours to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "waybill: {}", printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
