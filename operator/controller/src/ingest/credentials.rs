//! From a kubeconfig in a Secret to client settings, refusing what could harm the hub.

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Largest kubeconfig that is read, in bytes.
const MAX_KUBECONFIG_BYTES: usize = 1 << 20;

/// Why a kubeconfig cannot be used. No variant repeats any of its content.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The Secret has no such key.
    #[error(
        "the Secret has no key {key:?} (it has: {found}); set spec.kubeconfigSecretRef.key or add the key"
    )]
    NoKey {
        /// Key looked for.
        key: String,
        /// Keys there are.
        found: String,
    },
    /// It is no kubeconfig.
    #[error(
        "the value is not a kubeconfig; store the output of `kubectl config view --minify --flatten --raw`"
    )]
    Malformed,
    /// It is too large.
    #[error(
        "the kubeconfig is larger than {MAX_KUBECONFIG_BYTES} bytes; keep one context only (`--minify`)"
    )]
    TooLarge,
    /// It would run a program or read a file on the hub.
    #[error(
        "the kubeconfig uses {what}, which the hub does not run; use a token or embedded certificate data"
    )]
    Refused {
        /// The construct.
        what: &'static str,
    },
    /// It lets anybody pose as the member.
    #[error(
        "the kubeconfig says insecure-skip-tls-verify, so that anybody on the way could pose as the member and take the credentials; put the member's certificate-authority-data in it instead, or accept that with spec.insecureSkipTLSVerify: true"
    )]
    Insecure,
    /// It names no usable context.
    #[error("the kubeconfig has no usable current-context with a cluster and a user")]
    NoContext,
}

/// Builds client settings from kubeconfig text. Plugins and files are refused: whoever may write the Secret must not be
/// able to run programs or read files in the hub's pod. A member that does not prove who it is is refused too, unless
/// `insecure_skip_tls_verify` says that its MemberCluster accepts that.
///
/// # Errors
/// See [`CredentialsError`].
pub async fn member_config(
    text: &[u8],
    insecure_skip_tls_verify: bool,
) -> Result<Config, CredentialsError> {
    if text.len() > MAX_KUBECONFIG_BYTES {
        return Err(CredentialsError::TooLarge);
    }
    let text = std::str::from_utf8(text).map_err(|_| CredentialsError::Malformed)?;
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| CredentialsError::Malformed)?;
    refuse_dangerous(&kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|_| CredentialsError::NoContext)?;
    // Of the context in use: what other contexts say is never followed.
    if config.accept_invalid_certs && !insecure_skip_tls_verify {
        return Err(CredentialsError::Insecure);
    }
    config.connect_timeout = Some(std::time::Duration::from_secs(5));
    config.write_timeout = Some(std::time::Duration::from_secs(30));
    config.proxy_url = None;
    Ok(config)
}

fn refuse_dangerous(kubeconfig: &Kubeconfig) -> Result<(), CredentialsError> {
    let refused = |what| Err(CredentialsError::Refused { what });
    for user in kubeconfig
        .auth_infos
        .iter()
        .filter_map(|u| u.auth_info.as_ref())
    {
        if user.exec.is_some() {
            return refused("an exec plugin");
        }
        if user.auth_provider.is_some() {
            return refused("an auth-provider");
        }
        if user.token_file.is_some() {
            return refused("tokenFile");
        }
        if user.client_certificate.is_some() || user.client_key.is_some() {
            return refused("a client certificate or key file");
        }
    }
    for cluster in kubeconfig
        .clusters
        .iter()
        .filter_map(|c| c.cluster.as_ref())
    {
        if cluster.certificate_authority.is_some() {
            return refused("a certificate-authority file");
        }
        if cluster.proxy_url.is_some() {
            return refused("proxy-url");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(user: &str, cluster: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:6443', {cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    #[tokio::test]
    async fn a_token_is_accepted() {
        let config = member_config(kubeconfig("token: abc", "").as_bytes(), false)
            .await
            .unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://127.0.0.1:6443/");
    }

    #[tokio::test]
    async fn a_member_that_proves_nothing_is_refused_unless_that_is_accepted() {
        let insecure = kubeconfig("token: abc", "insecure-skip-tls-verify: true");
        for (text, accepted, is_used) in [
            (&insecure, false, false),
            (&insecure, true, true),
            (
                &insecure.replace("verify: true", "verify: false"),
                false,
                true,
            ),
        ] {
            let config = member_config(text.as_bytes(), accepted).await;
            assert_eq!(config.is_ok(), is_used, "{text} {accepted}");
            if let Err(error) = config {
                assert!(matches!(error, CredentialsError::Insecure), "{error}");
                let error = error.to_string();
                assert!(
                    error.contains("spec.insecureSkipTLSVerify: true"),
                    "{error}"
                );
            }
        }
    }

    #[tokio::test]
    async fn programs_and_files_are_refused() {
        let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}";
        for (user, cluster, what) in [
            (exec, "", "an exec plugin"),
            ("tokenFile: /var/run/secrets/token", "", "tokenFile"),
            (
                "client-certificate: /etc/a, client-key: /etc/b",
                "",
                "a client certificate or key file",
            ),
            (
                "token: abc",
                "certificate-authority: /etc/ca",
                "a certificate-authority file",
            ),
            ("token: abc", "proxy-url: 'http://127.0.0.1:1'", "proxy-url"),
        ] {
            let error = member_config(kubeconfig(user, cluster).as_bytes(), true)
                .await
                .unwrap_err();
            assert!(
                matches!(error, CredentialsError::Refused { what: w } if w == what),
                "{what}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn errors_never_repeat_the_content() {
        for text in [
            &b"not: [a kubeconfig secret-token-123"[..],
            b"\xff\xfe",
            b"secret-token-123",
            b"",
        ] {
            let error = member_config(text, true).await.unwrap_err().to_string();
            assert!(!error.contains("secret-token-123"), "{error}");
        }
    }
}
