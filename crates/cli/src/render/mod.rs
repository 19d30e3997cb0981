//! Answers in the form that was asked for.

pub mod explain;
pub mod job;
pub mod json;
pub mod retention;
pub mod security_group;
pub mod service;
pub mod state;
pub mod table;

use json::{Encoder, Resource};

use crate::args::Output;
use crate::escape;
use crate::failure::Failure;
use crate::output::{Screen, Side};

/// Prints answers: tables for people, everything for programs.
#[derive(Debug)]
pub struct Printer {
    pub screen: Screen,
    pub output: Output,
    encoder: Encoder,
}

impl Printer {
    pub fn new(screen: Screen, output: Output) -> Self {
        Self { screen, output, encoder: Encoder::default() }
    }

    /// Whether sentences and tables are wanted, rather than data.
    pub fn for_people(&self) -> bool {
        self.output == Output::Table
    }

    /// A sentence on what was done; programs have the exit code.
    pub fn said(&self, sentence: &str) -> Result<(), Failure> {
        if self.for_people() { self.screen.print(&escape::line(sentence)) } else { Ok(()) }
    }

    /// One thing; `table` makes what people see.
    pub fn one<M: Resource>(&self, item: &M, table: impl FnOnce(&M) -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.screen.print(&table(item)),
            Output::Name => self.name(item),
            Output::Json | Output::Yaml => self.value(&self.encoder.value(item)?),
        }
    }

    /// All pages of a list, under `key`.
    pub fn list<M: Resource>(&self, key: &str, items: &[M], table: impl FnOnce(&[M]) -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.screen.print(&table(items)),
            Output::Name => items.iter().try_for_each(|item| self.name(item)),
            Output::Json | Output::Yaml => {
                let values = items.iter().map(|item| self.encoder.value(item)).collect::<Result<Vec<_>, _>>()?;
                self.value(&serde_json::json!({ key: values }))
            }
        }
    }

    /// One of an open number of things: a line of JSON, a YAML document, or what `line` makes.
    pub fn next<M: Resource>(&self, item: &M, line: impl FnOnce(&M) -> String) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.screen.print(&line(item)),
            Output::Name => self.name(item),
            Output::Json => self.screen.print(&self.harmless(self.encoder.value(item)?.to_string())),
            Output::Yaml => {
                self.screen.print("---")?;
                self.value(&self.encoder.value(item)?)
            }
        }
    }

    /// Data that is no message of the api.
    pub fn value(&self, value: &serde_json::Value) -> Result<(), Failure> {
        let cannot = |error: &dyn std::fmt::Display| Failure::wrong(format!("cannot print the answer: {error}"));
        let text = match self.output {
            Output::Yaml => serde_yaml_ng::to_string(value).map_err(|error| cannot(&error))?,
            Output::Json | Output::Table | Output::Name => {
                self.harmless(serde_json::to_string_pretty(value).map_err(|error| cannot(&error))?)
            }
        };
        self.screen.print(&text)
    }

    fn name<M: Resource>(&self, item: &M) -> Result<(), Failure> {
        self.screen.print(&escape::line(item.resource_name()))
    }

    fn harmless(&self, json: String) -> String {
        if self.screen.is_terminal(Side::Out) { escape::json(&json) } else { json }
    }
}
