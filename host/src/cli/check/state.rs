//! Which cases failed in the last run of the same command in the same folder, for `--failed`.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;

use etcetera::{BaseStrategy as _, choose_base_strategy};
use serde_json::{Value, json};

use crate::check::CaseResult;

/// What is kept between runs. If it cannot be read or written, only `--failed` suffers.
#[derive(Debug)]
pub(super) struct State {
    /// Protocol, role, command and folder.
    key: Value,
    /// `None` if the user has no folder for it.
    path: Option<PathBuf>,
    failed: Option<BTreeSet<String>>,
}

impl State {
    pub(super) fn load(protocol: &str, role: &str, command: &[String]) -> Self {
        let folder = env::current_dir().unwrap_or_default().display().to_string();
        let key = json!([protocol, role, command, folder]);
        // Two keys with the same checksum replace each other: the key in the file shows that.
        let name = format!("{:08x}.json", crc32fast::hash(key.to_string().as_bytes()));
        let path = choose_base_strategy()
            .ok()
            .map(|user| user.cache_dir().join("socklab").join("check").join(name));
        let failed = path.as_ref().and_then(|path| fs::read(path).ok()).and_then(|bytes| {
            let state: Value = serde_json::from_slice(&bytes).ok()?;
            let failed = state.get("failed").filter(|_| state["key"] == key)?.as_array()?;
            Some(failed.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect())
        });
        Self { key, path, failed }
    }

    /// Returns the ids of the cases that failed, or `None` without an earlier run.
    pub(super) const fn failed(&self) -> Option<&BTreeSet<String>> {
        self.failed.as_ref()
    }

    /// Adds the results of a run, and writes the file. Cases that were not run keep their last result.
    pub(super) fn update(&mut self, results: &[CaseResult]) {
        let failed = self.failed.get_or_insert_default();
        for result in results {
            match result.verdict.name() {
                "fail" => failed.insert(result.id.clone()),
                "skip" => false,
                _ => failed.remove(&result.id),
            };
        }
        if let Some(path) = &self.path {
            let text = json!({ "key": self.key, "failed": failed }).to_string();
            let _ = path
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(path, text));
        }
    }
}
