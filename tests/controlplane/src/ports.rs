//! Loopback ports that stay ours.
//!
//! Asking the system for any free port and passing it on loses it to others: it lies in the range that outgoing
//! connections take theirs from, so an API server that stops may not get its port back. Ports here come from below that
//! range and are held with a lock file, which planes of other processes see and the system drops when a process dies.

use std::collections::hash_map::RandomState;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Below Linux's default `net.ipv4.ip_local_port_range` (32768–60999) and above the usual services.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// A loopback port held for this process until dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    lock: File,
}

impl Drop for PortLease {
    fn drop(&mut self) {
        // Closing alone would not do at once: a child that is being started beside us has a copy until it has loaded its
        // program. Should it fail, closing ends the lock a moment later.
        let _ = self.lock.unlock();
    }
}

impl PortLease {
    /// Takes a free port.
    ///
    /// # Errors
    /// [`Error::NoFreePort`] when all are taken; [`Error::File`] when lock files cannot be written.
    pub fn any() -> Result<Self> {
        let span = u64::from(LAST - FIRST) + 1;
        let start = RandomState::new().build_hasher().finish() % span;
        for step in 0..span {
            let offset = u16::try_from((start + step) % span).unwrap_or(0);
            if let Some(lease) = Self::try_port(FIRST + offset)? {
                return Ok(lease);
            }
        }
        Err(Error::NoFreePort {
            first: FIRST,
            last: LAST,
        })
    }

    /// Takes this very port.
    ///
    /// # Errors
    /// [`Error::PortInUse`] when it is taken; [`Error::File`] when lock files cannot be written.
    pub fn exactly(port: u16) -> Result<Self> {
        Self::try_port(port)?.ok_or(Error::PortInUse { port })
    }

    /// The port number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn try_port(port: u16) -> Result<Option<Self>> {
        let dir = Self::lock_dir();
        std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        let path = dir.join(port.to_string());
        let lock = File::create(&path).map_err(Error::file("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(Error::File {
                    action: "lock",
                    path,
                    source,
                });
            }
        }
        // The lock only speaks for planes; a listener says whether anything else has the port.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        Ok(free.then_some(Self { port, lock }))
    }

    /// One folder for each user: another user's files could not be opened.
    fn lock_dir() -> PathBuf {
        let uid = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("ampacity-ports-{uid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leased_port_is_not_given_twice() {
        let first = PortLease::any().unwrap();
        assert!(matches!(
            PortLease::exactly(first.port()),
            Err(Error::PortInUse { .. })
        ));
        let port = first.port();
        drop(first);
        assert_eq!(PortLease::exactly(port).unwrap().port(), port);
    }

    #[test]
    fn a_port_someone_listens_on_is_taken() {
        let port = PortLease::any().unwrap().port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(matches!(
            PortLease::exactly(port),
            Err(Error::PortInUse { .. })
        ));
        drop(listener);
    }
}
