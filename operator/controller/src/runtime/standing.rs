//! Who leads the hub, as far as this process knows, for whoever asks it.

use std::sync::{Arc, Mutex, PoisonError};

/// What `/readyz` says of the election; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Role>>);

/// The part that this process plays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It has not seen the Lease yet.
    #[default]
    Starting,
    /// It leads.
    Leads,
    /// Another leads.
    StandsBy {
        /// Namespace and name of the Lease.
        lease: String,
        /// Who holds it.
        holder: String,
    },
}

impl Standing {
    /// The role is this one now. Returns whether that is new.
    pub fn set(&self, role: Role) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *current != role;
        *current = role;
        is_new
    }

    /// What `/readyz` answers. A standby is ready: it is there to take over.
    pub fn text(&self) -> String {
        let role = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*role {
            Role::Starting => "ok: has not seen the Lease yet\n".to_owned(),
            Role::Leads => "ok: leads this hub\n".to_owned(),
            Role::StandsBy { lease, holder } => {
                format!("ok: stands by; Lease {lease} is held by {holder}, which leads this hub\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_leads_and_what_is_new() {
        let standing = Standing::default();
        let asked = standing.clone();
        let standby = Role::StandsBy {
            lease: "kube-system/ampacity-operator".to_owned(),
            holder: "team-a/ampacity-7f_1".to_owned(),
        };
        assert!(standing.set(standby.clone()));
        assert!(!standing.set(standby), "the same again");
        assert_eq!(
            asked.text(),
            "ok: stands by; Lease kube-system/ampacity-operator is held by team-a/ampacity-7f_1, which leads this hub\n"
        );
        assert!(standing.set(Role::Leads));
        assert_eq!(asked.text(), "ok: leads this hub\n");
    }
}
