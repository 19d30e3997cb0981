//! Source archives, named by what they are.

use std::fs::File;
use std::io::{Read, Seek, Write};

use sha2::{Digest, Sha256};
use taskplane_logs::LogsError;

use crate::kit::Kit;

fn file_of(content: &[u8]) -> (String, File) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    (hex::encode(Sha256::digest(content)), file)
}

#[tokio::test]
async fn a_source_is_read_as_it_was_put_whatever_its_size() {
    let kit = Kit::new();
    for size in [0, 1, 4096, (5 << 20) - 1, 5 << 20, (17 << 20) + 3] {
        let content: Vec<u8> = (0..size).map(|index: usize| (index % 251) as u8).collect();
        let (sha256, file) = file_of(&content);
        assert!(!kit.objects.source_exists(&sha256).await.unwrap());
        kit.objects.source_put(&sha256, file).await.unwrap();
        assert!(kit.objects.source_exists(&sha256).await.unwrap());
        let mut read = Vec::new();
        kit.objects.source_open(&sha256).await.unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content, "{size} bytes");
    }
}

#[tokio::test]
async fn putting_a_source_again_leaves_the_first_as_it_is() {
    let kit = Kit::new();
    let (sha256, file) = file_of(b"the very archive");
    kit.objects.source_put(&sha256, file.try_clone().unwrap()).await.unwrap();
    let mut open = kit.objects.source_open(&sha256).await.unwrap();
    kit.objects.source_put(&sha256, file).await.unwrap();
    kit.objects.source_remove(&sha256).await.unwrap();
    kit.objects.source_remove(&sha256).await.unwrap();
    assert!(!kit.objects.source_exists(&sha256).await.unwrap());
    assert!(matches!(kit.objects.source_open(&sha256).await, Err(LogsError::NoSuchSource(gone)) if gone == sha256));
    open.rewind().unwrap();
    assert_eq!(std::io::read_to_string(open).unwrap(), "the very archive");
}

#[tokio::test]
async fn bytes_that_are_not_what_their_name_says_are_refused() {
    let kit = Kit::new();
    for size in [10, 12 << 20] {
        let (sha256, _) = file_of(&[1]);
        let (actual, file) = file_of(&vec![2; size]);
        let error = kit.objects.source_put(&sha256, file).await.unwrap_err();
        assert!(matches!(error, LogsError::DigestMismatch { actual: found, .. } if found == actual));
        assert!(!kit.objects.source_exists(&sha256).await.unwrap());
    }
}

#[tokio::test]
async fn only_a_digest_with_or_without_an_upload_names_a_source() {
    let kit = Kit::new();
    let upper = "A".repeat(64);
    let dots = format!("../{}", "a".repeat(61));
    let (open, path) = (format!("{}-", "a".repeat(64)), format!("{}-{}", "a".repeat(64), "../".repeat(12)));
    for name in ["", "abc", "../../etc/passwd", upper.as_str(), dots.as_str(), open.as_str(), path.as_str()] {
        assert!(matches!(kit.objects.source_open(name).await, Err(LogsError::NotASource)), "{name}");
        assert!(matches!(kit.objects.source_exists(name).await, Err(LogsError::NotASource)), "{name}");
        assert!(matches!(kit.objects.source_remove(name).await, Err(LogsError::NotASource)), "{name}");
        let put = kit.objects.source_put(name, tempfile::tempfile().unwrap()).await;
        assert!(matches!(put, Err(LogsError::NotASource)), "{name}");
    }
}

#[tokio::test]
async fn each_upload_of_the_same_bytes_has_an_object_of_its_own() {
    let kit = Kit::new();
    let (sha256, file) = file_of(b"pushed again and again");
    let uploads = [1, 2].map(|number| format!("{sha256}-{}", uuid::Uuid::from_u128(number)));
    for object in [&sha256, &uploads[0], &uploads[1]] {
        kit.objects.source_put(object, file.try_clone().unwrap()).await.unwrap();
    }
    assert_eq!(kit.objects.sources_by_digest().await.unwrap(), std::slice::from_ref(&sha256));
    kit.objects.source_remove(&uploads[0]).await.unwrap();
    kit.objects.source_remove(&sha256).await.unwrap();
    assert!(!kit.objects.source_exists(&uploads[0]).await.unwrap());
    assert!(kit.objects.source_exists(&uploads[1]).await.unwrap());
    assert!(kit.objects.sources_by_digest().await.unwrap().is_empty());
    let (_, other) = file_of(b"something else");
    let refused = kit.objects.source_put(&uploads[0], other).await.unwrap_err();
    assert!(matches!(refused, LogsError::DigestMismatch { expected, .. } if expected == sha256));
}
