//! Waiting for something to become so: by watch where there is one object to look at, by looking again otherwise.
//! Never by sleeping for long enough.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::Duration;

use kube::runtime::wait::await_condition;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Looks until `look` returns `Some`. Errors are looked past, since servers restart under a test, and the last one is in
/// the timeout's message.
///
/// # Errors
/// [`Error::Timeout`] naming `what`.
pub async fn wait_for<T, E, F, Fut>(
    what: impl Into<String>,
    timeout: Duration,
    mut look: F,
) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, E>>,
{
    let mut last = None;
    let found = tokio::time::timeout(timeout, async {
        loop {
            match look().await {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => last = Some(error.to_string()),
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    found.map_err(|_| Error::Timeout {
        what: what.into(),
        timeout,
        last,
    })
}

/// Looks until `look` returns true.
///
/// # Errors
/// [`Error::Timeout`] naming `what`.
pub async fn wait_until<F, Fut>(
    what: impl Into<String>,
    timeout: Duration,
    mut look: F,
) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(what, timeout, || {
        let looked = look();
        async move { Ok::<_, Error>(looked.await.then_some(())) }
    })
    .await
}

/// Watches one object until it exists and `is_so` holds for it, and returns it. Goes on when the API server restarts.
///
/// # Errors
/// [`Error::Timeout`] naming `what`, with the object's status as last seen.
pub async fn wait_for_object<K>(
    api: &Api<K>,
    name: &str,
    what: impl Into<String>,
    timeout: Duration,
    is_so: impl Fn(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    let watched = tokio::time::timeout(timeout, async {
        loop {
            match await_condition(api.clone(), name, |object: Option<&K>| {
                object.is_some_and(&is_so)
            })
            .await
            {
                Ok(Some(object)) => return object,
                // The watch broke; it starts anew.
                Ok(None) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    })
    .await;
    match watched {
        Ok(object) => Ok(object),
        Err(_) => Err(Error::Timeout {
            what: what.into(),
            timeout,
            last: Some(last_seen(api, name).await),
        }),
    }
}

/// Watches one object until it is gone.
///
/// # Errors
/// [`Error::Timeout`] naming `what`, with the object's status as last seen.
pub async fn wait_gone<K>(
    api: &Api<K>,
    name: &str,
    what: impl Into<String>,
    timeout: Duration,
) -> Result<()>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
{
    let watched = tokio::time::timeout(timeout, async {
        while await_condition(api.clone(), name, |object: Option<&K>| object.is_none())
            .await
            .is_err()
        {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    match watched {
        Ok(()) => Ok(()),
        Err(_) => Err(Error::Timeout {
            what: what.into(),
            timeout,
            last: Some(last_seen(api, name).await),
        }),
    }
}

/// The object's status, for a message.
async fn last_seen<K>(api: &Api<K>, name: &str) -> String
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    match tokio::time::timeout(Duration::from_secs(2), api.get_opt(name)).await {
        Ok(Ok(Some(object))) => {
            let value = serde_json::to_value(&object).unwrap_or_default();
            let meta = object.meta();
            let deleted = if meta.deletion_timestamp.is_some() {
                "being deleted, "
            } else {
                ""
            };
            let finalizers = meta.finalizers.clone().unwrap_or_default();
            format!(
                "{deleted}finalizers {finalizers:?}, status {}",
                value.get("status").unwrap_or(&serde_json::Value::Null)
            )
        }
        Ok(Ok(None)) => format!("no object named {name}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer from the API server".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timeout_says_what_was_waited_for_and_what_was_last_seen() {
        let error = wait_for::<(), _, _, _>("the moon", Duration::from_millis(10), || async {
            Err::<Option<()>, _>("clouds")
        })
        .await
        .unwrap_err()
        .to_string();
        assert_eq!(error, "waited 10ms for the moon; last seen: clouds");
    }

    #[tokio::test]
    async fn looking_goes_on_past_errors() {
        let mut looks = 0;
        let found = wait_for("three", Duration::from_secs(5), || {
            looks += 1;
            let look = looks;
            async move {
                if look < 3 {
                    Err("not yet")
                } else {
                    Ok(Some(look))
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }
}
