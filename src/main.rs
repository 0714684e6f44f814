//! The `ftp` program.

fn main() -> std::process::ExitCode {
    ftp::cli::main()
}
