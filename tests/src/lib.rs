//! Tests of the whole: through gRPC and the command line alone (`e2e`), and of the house itself (`layers`).
