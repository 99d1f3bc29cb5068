//! The command line: which command is run, and how it ends.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;
use crate::{input, operator, plan, simulate};

/// Places training and inference jobs on accelerators of many clusters, by device, watts and dollars.
#[derive(Debug, Parser)]
#[command(name = "ampacity", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what would be placed where, at what price and power, and why not otherwise; needs no cluster.
    ///
    /// Reads Node, Pod, ResourceSlice, ResourceClaim, PriorityClass and all Ampacity kinds as YAML or JSON. Exit code 0: all jobs
    /// are placed; 2: some are not, among them those that name a device type or PriorityClass that is not there; 1: bad input.
    Plan(plan::PlanArgs),
    /// Play a trace or a workload through the engine: what it would do over days, at what price, power and waiting time.
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
    /// Print the CustomResourceDefinitions: ampacity crds | kubectl apply --server-side --force-conflicts -f -
    Crds,
    /// Run the operator against a hub.
    Operator(Box<operator::OperatorArgs>),
    /// Print the version.
    Version,
}

/// Reads the arguments of the process, does what they say, and returns how it ended.
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", input::printable(&format!("{error:#}")));
            Exit::BadInput.into()
        }
    }
}

/// Arguments that cannot be used end with 1, as all bad input does: clap's own 2 would read as "not all placed".
fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|error| {
        let _ = error.print();
        if error.use_stderr() {
            Exit::BadInput.into()
        } else {
            Exit::Success.into()
        }
    })
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Plan(args) => plan::run(args),
        Command::Simulate(command) => simulate::run(command),
        Command::Crds => {
            plan::print(&ampacity_api::to_yaml(&ampacity_api::crds())?)?;
            Ok(Exit::Success)
        }
        Command::Operator(args) => operator::run(args).map(|()| Exit::Success),
        Command::Version => {
            plan::print(&format!("ampacity {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(Exit::Success)
        }
    }
}
