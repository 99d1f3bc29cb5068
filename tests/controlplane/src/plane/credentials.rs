//! Certificates, keys and users of one plane, as files in its folder.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::error::{Error, Result};

/// A user the API server knows by token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    /// User name, as RBAC subjects write it.
    pub name: String,
    /// The `uid` the API server reports.
    pub uid: String,
    /// Groups, as RBAC subjects write them. `system:masters` may do everything.
    pub groups: Vec<String>,
    /// Bearer token.
    pub token: String,
}

impl User {
    /// A user with a random token.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Result<Self> {
        let name = name.into();
        Ok(Self {
            uid: name.clone(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            token: random_token()?,
            name,
        })
    }

    /// One line of the API server's token file: `token,user,uid,"group1,group2"`.
    fn token_line(&self) -> String {
        format!(
            "{},{},{},\"{}\"\n",
            self.token,
            self.name,
            self.uid,
            self.groups.join(",")
        )
    }
}

/// Where the plane's credentials lie.
#[derive(Debug, Clone)]
pub(crate) struct CredentialFiles {
    /// The authority that signed the serving certificate.
    pub(crate) ca_certificate: PathBuf,
    /// Serving certificate for 127.0.0.1 and localhost, so that it also holds behind a proxy on another port.
    pub(crate) serving_certificate: PathBuf,
    /// Key of the serving certificate.
    pub(crate) serving_key: PathBuf,
    /// Signs ServiceAccount tokens.
    pub(crate) service_account_key: PathBuf,
    /// Checks ServiceAccount tokens.
    pub(crate) service_account_public_key: PathBuf,
    /// The API server's users.
    pub(crate) tokens: PathBuf,
    users: PathBuf,
}

impl CredentialFiles {
    /// Makes what is missing in `dir`, and returns the users: those of an earlier run keep their tokens.
    pub(crate) fn prepare(dir: &Path, wanted: Vec<User>) -> Result<(Self, Vec<User>)> {
        std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let files = Self {
            ca_certificate: dir.join("ca.crt"),
            serving_certificate: dir.join("serving.crt"),
            serving_key: dir.join("serving.key"),
            service_account_key: dir.join("service-account.key"),
            service_account_public_key: dir.join("service-account.pub"),
            tokens: dir.join("tokens.csv"),
            users: dir.join("users.json"),
        };
        if !files.ca_certificate.exists() {
            files.make_keys()?;
        }
        let users = files.merge_users(wanted)?;
        Ok((files, users))
    }

    fn make_keys(&self) -> Result<()> {
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut authority = CertificateParams::default();
        authority
            .distinguished_name
            .push(DnType::CommonName, "ampacity-controlplane-ca");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let serving_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut serving = CertificateParams::new(vec![
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ])?;
        serving
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        serving.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let serving_certificate = serving.signed_by(&serving_key, &issuer)?;

        let service_account_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        write_private(&self.serving_certificate, &serving_certificate.pem())?;
        write_private(&self.serving_key, &serving_key.serialize_pem())?;
        write_private(
            &self.service_account_key,
            &service_account_key.serialize_pem(),
        )?;
        write_private(
            &self.service_account_public_key,
            &service_account_key.public_key_pem(),
        )?;
        // Last: its presence says that the others are complete.
        write_private(&self.ca_certificate, &authority_certificate.pem())
    }

    fn merge_users(&self, wanted: Vec<User>) -> Result<Vec<User>> {
        let mut users: Vec<User> = match std::fs::read(&self.users) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Unreadable {
                what: self.users.display().to_string(),
                reason: error.to_string(),
            })?,
            Err(_) => Vec::new(),
        };
        for user in wanted {
            if !users.iter().any(|known| known.name == user.name) {
                users.push(user);
            }
        }
        let json = serde_json::to_string_pretty(&users).map_err(|error| Error::Unreadable {
            what: "the plane's users".to_owned(),
            reason: error.to_string(),
        })?;
        write_private(&self.users, &json)?;
        write_private(
            &self.tokens,
            &users.iter().map(User::token_line).collect::<String>(),
        )?;
        Ok(users)
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file("write", path))
}

/// 128 random bits in hexadecimal.
fn random_token() -> Result<String> {
    use std::io::Read;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 16];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::file("read", path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_in_the_same_folder_keeps_keys_and_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let (files, first) = CredentialFiles::prepare(
            dir.path(),
            vec![User::new("admin", &["system:masters"]).unwrap()],
        )
        .unwrap();
        let ca = std::fs::read(&files.ca_certificate).unwrap();
        let wanted = vec![
            User::new("admin", &[]).unwrap(),
            User::new("alice", &["ml", "research"]).unwrap(),
        ];
        let (files, second) = CredentialFiles::prepare(dir.path(), wanted).unwrap();
        assert_eq!(first[0], second[0]);
        assert_eq!(ca, std::fs::read(&files.ca_certificate).unwrap());
        let lines = std::fs::read_to_string(&files.tokens).unwrap();
        assert!(
            lines.ends_with(&format!(
                "{},alice,alice,\"ml,research\"\n",
                second[1].token
            )),
            "{lines}"
        );
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (files, _) = CredentialFiles::prepare(dir.path(), Vec::new()).unwrap();
        let mode = std::fs::metadata(&files.service_account_key)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
