//! A TCP proxy in front of an API server that can be told to misbehave.
//!
//! It forwards bytes and knows no TLS: the plane's certificate holds for 127.0.0.1 on any port, so clients verify it
//! through the proxy as they would without.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// What the proxy does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// Forwards everything.
    Pass,
    /// Forwards everything this much later, in both directions: a request and its answer take twice as long.
    Delay(Duration),
    /// Closes new connections at once; open ones go on.
    DropNew,
    /// Accepts and never answers, and holds back what open connections send until the mode changes.
    BlackHole,
}

/// A proxy that runs until dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<FaultMode>,
    /// Counts up; a connection ends when it sees a number other than the one it began with.
    cut: watch::Sender<u64>,
    /// Counts up; a connection that was open then stays open and passes nothing any more.
    strand: watch::Sender<u64>,
    counters: Arc<Counters>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicUsize,
}

impl FaultProxy {
    /// Starts a proxy to `upstream` on a free loopback port, in [`FaultMode::Pass`].
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listening = |source| Error::Process {
            action: "listen for",
            program: "the fault proxy".to_owned(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let mode = watch::Sender::new(FaultMode::Pass);
        let cut = watch::Sender::new(0);
        let strand = watch::Sender::new(0);
        let counters = Arc::new(Counters::default());
        let acceptor = tokio::spawn(accept(
            listener,
            upstream,
            mode.clone(),
            cut.clone(),
            strand.clone(),
            Arc::clone(&counters),
        ));
        Ok(Self {
            address,
            mode,
            cut,
            strand,
            counters,
            acceptor,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for a kubeconfig, `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes what it does from now on, open connections included.
    pub fn set_mode(&self, mode: FaultMode) {
        self.mode.send_replace(mode);
    }

    /// Ends every open connection.
    pub fn cut_connections(&self) {
        self.cut.send_modify(|number| *number += 1);
    }

    /// Open connections stay open and pass nothing any more, while new ones work: as where a router lost its table of connections.
    pub fn strand_connections(&self) {
        self.strand.send_modify(|number| *number += 1);
    }

    /// Connections accepted so far, those dropped at once among them.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut_connections();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    mode: watch::Sender<FaultMode>,
    cut: watch::Sender<u64>,
    strand: watch::Sender<u64>,
    counters: Arc<Counters>,
) {
    loop {
        // An error here is one connection's (it went away again) and passes.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        if *mode.borrow() == FaultMode::DropNew {
            continue;
        }
        let (mode, counters) = (mode.subscribe(), Arc::clone(&counters));
        let (mut cut, mut strand) = (cut.subscribe(), strand.subscribe());
        tokio::spawn(async move {
            counters.open.fetch_add(1, Ordering::Relaxed);
            let mut forwarding = std::pin::pin!(forward(client, upstream, mode));
            tokio::select! {
                () = &mut forwarding => {}
                _ = cut.changed() => {}
                // Its sockets stay open with what forwards them, and nobody asks that to go on.
                _ = strand.changed() => drop(cut.changed().await),
            }
            counters.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Forwards both directions until both have ended or one breaks.
async fn forward(mut client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<FaultMode>) {
    if pass(&mut mode.clone()).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Small frames must not wait for each other's acknowledgement: the delay is ours to choose.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let _ = tokio::try_join!(
        copy(client_read, server_write, mode.clone()),
        copy(server_read, client_write, mode),
    );
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<FaultMode>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        pass(&mut mode).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default())
            .await?;
    }
}

/// Returns when the mode lets bytes through; an error when the proxy is gone.
async fn pass(mode: &mut watch::Receiver<FaultMode>) -> std::io::Result<()> {
    loop {
        let now = *mode.borrow_and_update();
        match now {
            FaultMode::Pass | FaultMode::DropNew => return Ok(()),
            FaultMode::Delay(delay) => {
                tokio::time::sleep(delay).await;
                return Ok(());
            }
            FaultMode::BlackHole => {
                mode.changed()
                    .await
                    .map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_forwards_and_delays_by_the_given_time_each_way() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.socket_address()).await.unwrap();
        assert_eq!(&round_trip(&mut stream).await.unwrap(), b"ping");
        proxy.set_mode(FaultMode::Delay(Duration::from_millis(30)));
        let started = Instant::now();
        assert_eq!(&round_trip(&mut stream).await.unwrap(), b"ping");
        assert!(started.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn dropping_new_connections_leaves_open_ones_alone() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut old = TcpStream::connect(proxy.socket_address()).await.unwrap();
        round_trip(&mut old).await.unwrap();
        proxy.set_mode(FaultMode::DropNew);
        let mut new = TcpStream::connect(proxy.socket_address()).await.unwrap();
        assert!(round_trip(&mut new).await.is_err());
        assert_eq!(&round_trip(&mut old).await.unwrap(), b"ping");
    }

    #[tokio::test]
    async fn a_stranded_connection_stays_open_and_silent_while_new_ones_work() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut old = TcpStream::connect(proxy.socket_address()).await.unwrap();
        round_trip(&mut old).await.unwrap();
        proxy.strand_connections();
        let silence = tokio::time::timeout(Duration::from_millis(50), round_trip(&mut old)).await;
        assert!(silence.is_err(), "neither an answer nor an end");
        let mut new = TcpStream::connect(proxy.socket_address()).await.unwrap();
        assert_eq!(&round_trip(&mut new).await.unwrap(), b"ping");
        proxy.cut_connections();
        assert!(round_trip(&mut old).await.is_err());
    }

    #[tokio::test]
    async fn a_black_hole_never_answers_and_lets_go_when_the_mode_changes() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        proxy.set_mode(FaultMode::BlackHole);
        let mut stream = TcpStream::connect(proxy.socket_address()).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        let silence =
            tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await;
        assert!(silence.is_err(), "something came back");
        proxy.set_mode(FaultMode::Pass);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    }

    #[tokio::test]
    async fn cutting_ends_open_connections_and_admits_new_ones() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.socket_address()).await.unwrap();
        round_trip(&mut stream).await.unwrap();
        proxy.cut_connections();
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        let mut again = TcpStream::connect(proxy.socket_address()).await.unwrap();
        assert_eq!(&round_trip(&mut again).await.unwrap(), b"ping");
        assert_eq!(proxy.accepted(), 2);
    }
}
