//! Single faults, each on a system of its own and to the point: what the storm does at random, these do for certain.

mod burst;
mod bus;
mod commits;
mod database;
mod drain;
mod drops;
mod outage;
mod zombie;
