//! The wire: generated code, and every conversion between it and the domain.

pub mod cloud_event;
pub mod convert;
pub mod details;
pub mod filter;
pub mod keyring;
pub mod token;

/// The public API.
#[expect(clippy::allow_attributes, clippy::large_enum_variant, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("taskplane.v1");
}

/// What events look like to the outside.
pub mod event {
    pub mod v1 {
        tonic::include_proto!("taskplane.event.v1");
    }
}

/// Between our own processes, and what rows keep as bytes.
pub mod internal {
    #[expect(clippy::allow_attributes, clippy::large_enum_variant, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("taskplane.internal.v1");
    }
}

/// All descriptors, with imports and comments: for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The public API's descriptors: for reflection.
pub const PUBLIC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));
