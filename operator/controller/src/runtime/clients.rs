//! The two ways to talk to one API server: calls, which must end, and watches, which stay open.

use std::time::Duration;

use kube::{Client, Config};

/// A call whose answer stays away for longer fails, and is made again. Half of the API server's own limit for a request
/// (`--request-timeout`, 60 s) is still far above what a healthy one needs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A watch that says nothing for so long, not even that its time is over, is one whose connection died without a word.
const SILENT_FOR: Duration = Duration::from_secs(70);

/// Clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For calls: fails when an answer stays away, for a server that went silent must not keep a decision waiting for ever.
    pub calls: Client,
    /// For watches: a server ends one after less than a minute, so that one which is silent for longer is dead.
    pub watches: Client,
}

impl Clients {
    /// Clients for the server that `config` describes.
    ///
    /// # Errors
    /// When its certificates or its address cannot be used.
    pub fn new(config: Config) -> Result<Self, kube::Error> {
        Self::answered_within(ANSWER_WITHIN, config)
    }

    fn answered_within(limit: Duration, config: Config) -> Result<Self, kube::Error> {
        let mut calls = config.clone();
        calls.read_timeout = Some(limit);
        // Without it, the time that a pooled connection was idle counts too.
        calls.reset_reader_on_write = true;
        let mut watches = config;
        watches.read_timeout = Some(SILENT_FOR);
        Ok(Self {
            calls: Client::try_from(calls)?,
            watches: Client::try_from(watches)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_is_never_answered_fails() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let accepting = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = silent.accept().await {
                held.push(connection);
            }
        });
        let config = Config::new(url.parse().unwrap());
        let clients = Clients::answered_within(Duration::from_millis(50), config).unwrap();
        let answer =
            tokio::time::timeout(Duration::from_secs(20), clients.calls.apiserver_version()).await;
        assert!(answer.expect("the call hangs").is_err());
        accepting.abort();
    }
}
