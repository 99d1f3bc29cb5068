//! By which environment the replicas of a gang find each other, beyond what all programs read.

/// What a vendor's programs are told, as plain data; the controller turns it into the variables of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Rendezvous {
    /// How a replica's program splits up.
    pub processes: Processes,
    /// Variables, in the order in which they are set.
    pub environment: &'static [EnvGroup],
}

/// How many processes a launcher should start in a replica.
#[derive(Clone, Copy, Debug)]
pub enum Processes {
    /// One for each device.
    PerDevice,
    /// One, for all devices of the host.
    PerReplica,
    /// One for each core.
    PerCore(Cores),
}

/// Cores of a device that a program sees: physical ones divided by how many make a logical one.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Of each accelerator type, where known.
    pub of_types: &'static [TypeCores],
    /// Variables by which a program chooses how many physical cores make a logical one; the first that is a number counts.
    pub size_variables: &'static [&'static str],
}

/// Cores of one accelerator type.
#[derive(Clone, Copy, Debug)]
pub struct TypeCores {
    /// The type.
    pub accelerator_type: &'static str,
    /// Physical cores of a device.
    pub physical: i32,
    /// Physical cores that make a logical one, unless the program chooses.
    pub per_logical: i32,
}

/// Variables that are set together or not at all: where one of them has no value, none is set.
#[derive(Clone, Copy, Debug)]
pub struct EnvGroup {
    /// Left out where the container starts torchrun or sets a variable with this prefix: then the program works out its own.
    pub yields_to: Option<&'static str>,
    /// Names and what is in them.
    pub variables: &'static [(&'static str, EnvValue)],
}

/// What is in a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// Rank of the replica, from 0.
    Rank,
    /// Host of rank 0 with this port: `host:port`.
    MasterAt(u16),
    /// Host names of all replicas by rank, with commas between; none where the list would be too long.
    HostNames,
    /// Logical cores of each replica by rank, with commas between; none where they are not known or the list would be too long.
    CoresOfEachReplica,
}

impl Rendezvous {
    /// One process for each device, and no variables of the vendor's own.
    pub const PER_DEVICE: Self = Self {
        processes: Processes::PerDevice,
        environment: &[],
    };
}

impl Cores {
    /// Logical cores of one device. `chosen` reads a variable of the container as a number.
    pub fn logical(
        &self,
        accelerator_type: &str,
        chosen: impl Fn(&str) -> Option<i32>,
    ) -> Option<i32> {
        let cores = self
            .of_types
            .iter()
            .find(|cores| cores.accelerator_type == accelerator_type)?;
        let size = self
            .size_variables
            .iter()
            .find_map(|name| chosen(name))
            .filter(|size| (1..=cores.physical).contains(size))
            .unwrap_or(cores.per_logical);
        cores.physical.checked_div(size)
    }
}
