//! `[log]`: which lines are written, and in which shape.

use serde::Deserialize;

/// `[log]`
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,trunkline::switch=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogConfig {
    /// The filter of log lines. A level alone is that of this program; the libraries in it tell warnings only.
    ///
    /// # Errors
    /// When the level is neither one nor a list of `MODULE=LEVEL`; the text names the key.
    pub fn filter(&self) -> Result<String, String> {
        let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text.trim()));
        let level = self.level.trim().to_ascii_lowercase();
        if is_level(&level) {
            let others = if matches!(level.as_str(), "off" | "error") {
                &level
            } else {
                "warn"
            };
            return Ok(format!("{others},trunkline={level},sip={level},media={level}"));
        }
        let is_directive = |part: &str| {
            is_level(part)
                || part
                    .rsplit_once('=')
                    .is_some_and(|(module, level)| !module.trim().is_empty() && is_level(level))
        };
        if self.level.split(',').all(is_directive) {
            Ok(self.level.clone())
        } else {
            Err(format!(
                "[log] level: {:?} is neither a level (error, warn, info, debug, trace) nor a filter like \"info,trunkline::switch=debug\"",
                self.level
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(level: &str) -> Result<String, String> {
        let level = level.to_owned();
        LogConfig {
            level,
            ..LogConfig::default()
        }
        .filter()
    }

    #[test]
    fn a_plain_level_is_that_of_this_program_and_not_of_its_libraries() {
        assert_eq!(filter("info").unwrap(), "warn,trunkline=info,sip=info,media=info");
        assert_eq!(
            filter("Error").unwrap(),
            "error,trunkline=error,sip=error,media=error"
        );
    }

    #[test]
    fn a_filter_is_taken_as_it_is_and_anything_else_refused_by_its_key() {
        let text = "info,trunkline::switch=debug";
        assert_eq!(filter(text).unwrap(), text);
        for text in ["loud", "", "info,trunkline=loud", "=info"] {
            let problem = filter(text).unwrap_err();
            assert!(problem.starts_with("[log] level: "), "{problem}");
        }
    }
}
