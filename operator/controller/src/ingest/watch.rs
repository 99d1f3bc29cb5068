//! One watch: an endless list-and-watch of one kind, delivered to the operator's inbox.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use crate::state::{Change, WatchFailure};

/// A watch is made anew after so long, from where it left off: one whose connection died without a word would else be waited for
/// for five minutes.
const WATCH_SECONDS: u32 = 50;

/// Watches until the receiver is gone. Errors are retried for ever, after 0.2 s to 5 s, and reported through `failed`.
pub async fn watch<K, T>(
    api: Api<K>,
    config: watcher::Config,
    inbox: Sender<T>,
    wrap: impl Fn(Change<K>) -> Option<T> + Send,
    failed: impl Fn(WatchFailure) -> Option<T> + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send,
{
    let mut stream = watcher::watcher(api, config.timeout(WATCH_SECONDS))
        .backoff(RetryPauses::default())
        .boxed();
    let mut listing: Option<Vec<K>> = None;
    while let Some(event) = stream.next().await {
        let message = match event {
            Ok(Event::Init) => {
                listing = Some(Vec::new());
                // Before the list is asked for, so that everything that is in the inbox by then is older than it.
                wrap(Change::Listing)
            }
            Ok(Event::InitApply(object)) => {
                listing.get_or_insert_default().push(object);
                continue;
            }
            Ok(Event::InitDone) => wrap(Change::All(listing.take().unwrap_or_default())),
            Ok(Event::Apply(object)) => wrap(Change::Applied(Box::new(object))),
            Ok(Event::Delete(object)) => wrap(Change::Deleted(Box::new(object))),
            Err(error) => failed(WatchFailure {
                kind: String::new(),
                code: code(&error),
                message: describe(&error),
            }),
        };
        let Some(message) = message else {
            continue;
        };
        if inbox.send(message).await.is_err() {
            return;
        }
    }
}

fn code(error: &watcher::Error) -> Option<u16> {
    use watcher::Error as E;
    match error {
        E::WatchError(status) => Some(status.code),
        E::InitialListFailed(kube::Error::Api(status))
        | E::WatchStartFailed(kube::Error::Api(status))
        | E::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// An API error with everything that helps, without the noise of nested causes.
fn describe(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Doubling pauses, short enough that an API server which comes back is noticed within seconds.
struct RetryPauses(Duration);

impl RetryPauses {
    const FIRST: Duration = Duration::from_millis(200);
    const LAST: Duration = Duration::from_secs(5);
}

impl Default for RetryPauses {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Iterator for RetryPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LAST);
        Some(pause)
    }
}

impl Backoff for RetryPauses {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}
