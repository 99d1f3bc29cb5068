//! Kubeconfig files, for kubectl, Helm and the operator.

use k8s_openapi::ByteString;

/// A kubeconfig for one user at one address, with everything inside: it can be put into a Secret and used elsewhere.
///
/// Values are JSON-quoted, which YAML reads.
pub(crate) fn kubeconfig(
    cluster: &str,
    server: &str,
    ca_certificate_pem: &[u8],
    user: &str,
    token: &str,
) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    // ByteString writes itself as base64, as Kubernetes does.
    let ca = serde_json::json!(ByteString(ca_certificate_pem.to_vec()));
    format!(
        "\
apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    token: {token}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {user}
current-context: {cluster}
",
        cluster = quote(cluster),
        server = quote(server),
        user = quote(user),
        token = quote(token),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_alone_and_quotes_odd_names() {
        let text = kubeconfig(
            "hub: #1",
            "https://127.0.0.1:6443",
            b"PEM",
            "system:serviceaccount:a:b",
            "t0ken",
        );
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(value["current-context"], "hub: #1");
        assert_eq!(
            value["clusters"][0]["cluster"]["certificate-authority-data"],
            "UEVN"
        );
        assert_eq!(value["users"][0]["name"], "system:serviceaccount:a:b");
    }
}
