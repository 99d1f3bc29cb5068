//! The `ampacity` command. Under the name `kubectl-ampacity` it is a plugin of kubectl.

fn main() -> std::process::ExitCode {
    ampacity::main()
}
