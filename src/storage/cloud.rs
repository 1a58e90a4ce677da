//! The backends that are reached by HTTP. Credentials and settings are those of the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::ClientConfigKey::{self, ConnectTimeout, Timeout};
use object_store::{ObjectStore, RetryConfig};

use crate::error::{Error, Result, StorageErrorKind};
use crate::storage::{RetryPolicy, StorageUrl, failure};

/// A bucket of S3, and whether it lists in the order of keys.
#[cfg(feature = "s3")]
pub(super) fn s3(url: &StorageUrl, policy: &RetryPolicy) -> Result<(Arc<dyn ObjectStore>, bool)> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(url.bucket())
        // Whatever AWS_CONDITIONAL_PUT says: without it nothing here is safe.
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(no_retries());
    for (key, value) in client_options(policy) {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    use AmazonS3ConfigKey::{AccessKeyId, Endpoint, Region, S3Endpoint, SecretAccessKey, StsEndpoint, Token};
    // The client would panic on these, at the first request.
    for (key, name) in [
        (Endpoint, "AWS_ENDPOINT_URL"),
        (S3Endpoint, "AWS_ENDPOINT_URL_S3"),
        (StsEndpoint, "AWS_ENDPOINT_URL_STS"),
    ] {
        if let Some(endpoint) = builder.get_config_value(&key)
            && !is_endpoint(&endpoint)
        {
            return Err(unusable_setting(url, name, "is not of the form https://host:port"));
        }
    }
    for (key, name) in [
        (AccessKeyId, "AWS_ACCESS_KEY_ID"),
        (SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
        (Token, "AWS_SESSION_TOKEN"),
        (Region, "AWS_REGION"),
    ] {
        if let Some(value) = builder.get_config_value(&key)
            && !value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            return Err(unusable_setting(
                url,
                name,
                "has characters that cannot be sent (is there a line break in it?)",
            ));
        }
    }
    // Directory buckets list in no order.
    let is_directory = builder.get_config_value(&AmazonS3ConfigKey::S3Express).as_deref() == Some("true");
    let store = builder.build().map_err(|error| unusable(url, &error))?;
    Ok((Arc::new(store), !is_directory))
}

/// A bucket of Google Cloud Storage.
#[cfg(feature = "gcs")]
pub(super) fn gcs(url: &StorageUrl, policy: &RetryPolicy) -> Result<(Arc<dyn ObjectStore>, bool)> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    let mut builder =
        GoogleCloudStorageBuilder::from_env().with_bucket_name(url.bucket()).with_retry(no_retries());
    for (key, value) in client_options(policy) {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    Ok((Arc::new(builder.build().map_err(|error| unusable(url, &error))?), true))
}

/// A container of Azure Blob Storage.
#[cfg(feature = "azure")]
pub(super) fn azure(url: &StorageUrl, policy: &RetryPolicy) -> Result<(Arc<dyn ObjectStore>, bool)> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    let mut builder =
        MicrosoftAzureBuilder::from_env().with_container_name(url.bucket()).with_retry(no_retries());
    for (key, value) in client_options(policy) {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    Ok((Arc::new(builder.build().map_err(|error| unusable(url, &error))?), true))
}

/// Retrying is ours alone: one that is done below would multiply with it, and hide what an attempt's outcome was.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The settings of the HTTP client that are not the environment's.
fn client_options(policy: &RetryPolicy) -> [(ClientConfigKey, String); 2] {
    // The library is built without cryptography of its own. A program that has chosen one keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let milliseconds = |time: Duration| format!("{}ms", time.as_millis().max(1));
    let connect = policy.request_timeout.min(Duration::from_secs(5));
    [(Timeout, milliseconds(policy.request_timeout)), (ConnectTimeout, milliseconds(connect))]
}

/// Whether this is the address of a server, and no more than that.
#[cfg(feature = "s3")]
fn is_endpoint(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(feature = "s3")]
fn unusable_setting(url: &StorageUrl, name: &str, what: &str) -> Error {
    Error::Storage {
        op: "open",
        object: url.to_string(),
        kind: StorageErrorKind::Other,
        message: format!("{name} in the environment {what}"),
    }
}

/// Settings in the environment that a backend cannot work with.
fn unusable(url: &StorageUrl, error: &object_store::Error) -> Error {
    Error::Storage {
        op: "open",
        object: url.to_string(),
        kind: StorageErrorKind::Other,
        message: failure::clean(&error.to_string()),
    }
}
