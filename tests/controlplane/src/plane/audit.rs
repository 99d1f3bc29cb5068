//! The API server's audit log: who wrote what.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// One write the API server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who asked, as RBAC subjects write it.
    pub user: String,
    /// The client's name for itself.
    pub user_agent: String,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource, such as `jobs`.
    pub resource: String,
    /// Subresource; mostly empty.
    pub subresource: String,
    /// Namespace; empty for objects without one.
    pub namespace: String,
    /// Object name; empty where the server chose it.
    pub name: String,
    /// HTTP status code; 0 where none was sent.
    pub code: u16,
}

/// The fields of an `audit.k8s.io/v1` Event that are used here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: LineUser,
    #[serde(default)]
    user_agent: String,
    verb: String,
    #[serde(default)]
    object_ref: LineObject,
    #[serde(default)]
    response_status: LineStatus,
}

#[derive(Deserialize)]
struct LineUser {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LineObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LineStatus {
    code: u16,
}

/// Reads a log of one JSON event a line. A last line without an end is still being written and is left out.
pub(super) fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let complete = text
        .rfind('\n')
        .and_then(|end| text.get(..end))
        .unwrap_or("");
    complete
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| parse(line, path))
        .collect()
}

fn parse(line: &str, path: &Path) -> Result<AuditEvent> {
    let line: Line = serde_json::from_str(line).map_err(|error| Error::Unreadable {
        what: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(AuditEvent {
        user: line.user.username,
        user_agent: line.user_agent,
        verb: line.verb,
        group: line.object_ref.api_group,
        resource: line.object_ref.resource,
        subresource: line.object_ref.subresource,
        namespace: line.object_ref.namespace,
        name: line.object_ref.name,
        code: line.response_status.code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_and_a_half_written_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let whole = r#"{"kind":"Event","verb":"create","user":{"username":"alice","groups":["ml"]},"userAgent":"kubectl","objectRef":{"resource":"jobs","namespace":"a","name":"j","apiGroup":"batch"},"responseStatus":{"code":201}}"#;
        std::fs::write(&path, format!("{whole}\n{{\"kind\":\"Ev")).unwrap();
        let events = read(&path).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(
            (
                events[0].user.as_str(),
                events[0].resource.as_str(),
                events[0].code
            ),
            ("alice", "jobs", 201)
        );
    }
}
