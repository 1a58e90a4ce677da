//! The command `vwal`: shows, checks, attaches and detaches databases, and demonstrates that nothing acknowledged is
//! lost. `vwal --help` lists the subcommands and the exit codes.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
