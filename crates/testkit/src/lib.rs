//! What tests stand on: real servers and databases of their own, and the things to ask them with.

pub mod cluster;
pub mod nats;
pub mod postgres;
pub mod proxy;
