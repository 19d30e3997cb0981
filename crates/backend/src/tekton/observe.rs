//! What a run's objects say of it: a pure function from the objects to an `Observation`.
