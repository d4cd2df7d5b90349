//! The sources laid over each other, and the checks that concern more than one setting.
//!
//! Remembers for every setting where it was made, so that a check made at the end still names the line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::kinds::{Problem, Raw, RawValue};
use super::{
    Argument, Config, ConfigError, FIELDS, Field, Origin, SECTIONS, Sources, default_key, variable_of,
};

pub(super) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let key = default_key(|name| sources.variable(name));
    let mut layers = Layers { config: Config::with_key(key), origins: BTreeMap::new() };
    if let Some((path, named_by)) = file_of(sources) {
        layers.apply_file(&path, named_by)?;
    }
    layers.apply_environment(&sources.environment)?;
    for argument in &sources.arguments {
        layers.apply_argument(argument)?;
    }
    layers.place_paths(sources)?;
    layers.check()?;
    Ok(layers.config)
}

struct Layers {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Layers {
    fn apply_file(&mut self, path: &Path, named_by: Origin) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            origin: named_by,
            setting: None,
            problem: format!("cannot read the configuration file {}: {error}", path.display()),
            remedy: "name a readable TOML file, or none to use the defaults".to_owned(),
        })?;
        let at =
            |span: &Range<usize>| Origin::File { path: path.to_owned(), line: line_of(&text, span.start) };
        let root = DeTable::parse(&text).map_err(|error| ConfigError {
            origin: at(&error.span().unwrap_or(0..0)),
            setting: None,
            problem: format!("not valid TOML: {}", error.message()),
            remedy: "see docs/configuration.md for an example".to_owned(),
        })?;

        let mut entries = Vec::new();
        collect(root.get_ref(), "", &mut entries);
        // The parser sorts by name; a person reads from the top.
        entries.sort_by_key(|entry| entry.key.start);
        for entry in entries {
            let field = field(&entry.name).ok_or_else(|| unknown(at(&entry.key), &entry.name))?;
            let raw = raw_of(entry.value, entry.span);
            self.apply(field, &raw, at(&entry.key)).map_err(|(problem, origin)| {
                let origin = if problem.span.is_empty() { origin } else { at(&problem.span) };
                wrong(field, origin, problem)
            })?;
        }
        Ok(())
    }

    fn apply_environment(&mut self, environment: &[(OsString, OsString)]) -> Result<(), ConfigError> {
        let mut variables: Vec<_> = environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value)))
            .filter(|(name, _)| name.starts_with("HYPHAL_") && *name != FILE_VARIABLE)
            .collect();
        variables.sort();
        for (name, value) in variables {
            let origin = Origin::Variable(name.to_owned());
            let Some(field) = FIELDS.iter().find(|field| variable_of(field.name) == name) else {
                if is_service_link(name) {
                    continue;
                }
                return Err(unknown_variable(name));
            };
            let value = value.to_str().ok_or_else(|| {
                let problem = Problem { text: "the value is not UTF-8".to_owned(), span: 0..0 };
                wrong(field, origin.clone(), problem)
            })?;
            self.apply(field, &Raw::loose(value), origin)
                .map_err(|(problem, origin)| wrong(field, origin, problem))?;
        }
        Ok(())
    }

    fn apply_argument(&mut self, argument: &Argument) -> Result<(), ConfigError> {
        let origin = Origin::Flag(argument.flag.clone());
        let field = field(&argument.setting).ok_or_else(|| unknown(origin.clone(), &argument.setting))?;
        let raw = match argument.values.as_slice() {
            [value] => Raw::loose(value),
            values => Raw {
                value: RawValue::List(values.iter().map(|value| Raw::loose(value)).collect()),
                span: 0..0,
            },
        };
        self.apply(field, &raw, origin).map_err(|(problem, origin)| wrong(field, origin, problem))
    }

    fn apply(&mut self, field: &Field, raw: &Raw, origin: Origin) -> Result<(), (Problem, Origin)> {
        match (field.read)(&mut self.config, raw) {
            Ok(()) => {
                self.origins.insert(field.name, origin);
                Ok(())
            }
            Err(problem) => Err((problem, origin)),
        }
    }

    /// Makes the paths absolute, or relative to the working directory.
    fn place_paths(&mut self, sources: &Sources) -> Result<(), ConfigError> {
        self.config.key = self.placed("key", &self.config.key, sources)?;
        if let Some(path) = &self.config.key_log {
            self.config.key_log = Some(self.placed("key_log", path, sources)?);
        }
        if let Some(path) = &self.config.store.directory {
            self.config.store.directory = Some(self.placed("store.directory", path, sources)?);
        }
        if let Some(path) = &self.config.trust.certificate {
            self.config.trust.certificate = Some(self.placed("trust.certificate", path, sources)?);
        }
        if let Some(path) = &self.config.trust.revocations {
            self.config.trust.revocations = Some(self.placed("trust.revocations", path, sources)?);
        }
        Ok(())
    }

    fn placed(&self, setting: &str, path: &Path, sources: &Sources) -> Result<PathBuf, ConfigError> {
        let origin = self.origins.get(setting);
        match (path.strip_prefix("~"), origin) {
            (Ok(rest), _) => {
                let home = sources.variable("HOME").ok_or_else(|| ConfigError {
                    origin: origin.cloned().unwrap_or(Origin::Default),
                    setting: Some(setting.to_owned()),
                    problem: "'~' has no meaning, because the variable HOME is not set".to_owned(),
                    remedy: "write the whole path".to_owned(),
                })?;
                Ok(PathBuf::from(home).join(rest))
            }
            (_, Some(Origin::File { path: file, .. })) => {
                Ok(file.parent().unwrap_or(Path::new("")).join(path))
            }
            _ => Ok(path.to_owned()),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let config = &self.config;
        let max_message = usize::try_from(config.limits.max_message).unwrap_or(usize::MAX);
        if config.limits.outbox_bytes < max_message {
            return Err(self.contradiction(
                "limits.outbox_bytes",
                "limits.max_message",
                "the outbox has no room for the longest message",
                "make outbox_bytes at least as large as max_message",
            ));
        }
        if config.limits.assembly_bytes < max_message {
            return Err(self.contradiction(
                "limits.assembly_bytes",
                "limits.max_message",
                "the longest message could never be put together",
                "make assembly_bytes at least as large as max_message",
            ));
        }
        if config.store.bytes < u64::from(config.limits.max_message) {
            return Err(self.contradiction(
                "store.bytes",
                "limits.max_message",
                "the store has no room for the longest message",
                "make store.bytes at least as large as max_message",
            ));
        }
        let mut ids: Vec<_> = config.peers.iter().map(|peer| peer.id).collect();
        ids.sort();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.contradiction(
                "peers",
                "peers",
                &format!("{} is listed twice", pair[0]),
                "keep one address for each peer",
            ));
        }
        Ok(())
    }

    /// An error at the one of two settings that somebody has made.
    fn contradiction(&self, first: &str, second: &str, problem: &str, remedy: &str) -> ConfigError {
        let name = if self.origins.contains_key(first) { first } else { second };
        ConfigError {
            origin: self.origins.get(name).cloned().unwrap_or(Origin::Default),
            setting: Some(name.to_owned()),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// A value in the file, with the full name of its setting.
struct Entry<'t, 'i> {
    name: String,
    key: Range<usize>,
    span: Range<usize>,
    value: &'t DeValue<'i>,
}

/// Lists the values of a table. Goes into known sections only, so that an unknown table is one unknown setting.
fn collect<'t, 'i>(table: &'t DeTable<'i>, prefix: &str, entries: &mut Vec<Entry<'t, 'i>>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if prefix.is_empty() && SECTIONS.contains(&name.as_str()) => {
                collect(inner, &format!("{name}."), entries);
            }
            other => entries.push(Entry { name, key: key.span(), span: value.span(), value: other }),
        }
    }
}

fn raw_of(value: &DeValue<'_>, span: Range<usize>) -> Raw {
    let value = match value {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => RawValue::Integer(number),
            Err(_) => RawValue::Other("an integer of more than 64 bits"),
        },
        DeValue::Boolean(value) => RawValue::Boolean(*value),
        DeValue::Array(items) => {
            RawValue::List(items.iter().map(|item| raw_of(item.get_ref(), item.span())).collect())
        }
        DeValue::Float(_) => RawValue::Other("a number with a fraction"),
        DeValue::Datetime(_) => RawValue::Other("a date"),
        DeValue::Table(_) => RawValue::Other("a table"),
    };
    Raw { value, span }
}

pub(super) fn file_of(sources: &Sources) -> Option<(PathBuf, Origin)> {
    if let Some(path) = &sources.file {
        return Some((path.clone(), Origin::Flag("--config".to_owned())));
    }
    let path = sources.variable(FILE_VARIABLE).filter(|path| !path.is_empty())?;
    Some((path.into(), Origin::Variable(FILE_VARIABLE.to_owned())))
}

fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

fn wrong(field: &Field, origin: Origin, problem: Problem) -> ConfigError {
    ConfigError {
        origin,
        setting: Some(field.name.to_owned()),
        problem: problem.text,
        remedy: format!("allowed: {}", (field.allowed)()),
    }
}

fn unknown(origin: Origin, name: &str) -> ConfigError {
    let remedy = if SECTIONS.contains(&name) {
        format!("[{name}] is a section: write its settings below that header")
    } else {
        nearest(name, FIELDS.iter().map(|field| field.name.to_owned())).map_or_else(
            || {
                format!(
                    "the settings are: {}",
                    FIELDS.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
                )
            },
            |known| format!("did you mean {known}?"),
        )
    };
    ConfigError {
        origin,
        setting: Some(name.to_owned()),
        problem: "there is no such setting".to_owned(),
        remedy,
    }
}

/// A mistyped variable is an error, for it would leave the node without the protection that somebody meant to set.
fn unknown_variable(name: &str) -> ConfigError {
    let known = FIELDS.iter().map(|field| variable_of(field.name)).chain([FILE_VARIABLE.to_owned()]);
    ConfigError {
        origin: Origin::Variable(name.to_owned()),
        setting: None,
        problem: "no setting has this variable".to_owned(),
        remedy: nearest(name, known).map_or_else(
            || "unset it, or see docs/configuration.md for the names".to_owned(),
            |known| format!("did you mean {known}?"),
        ),
    }
}

fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let (likeness, nearest) = known
        .map(|known| {
            // `max_message` outside of its section is the commonest mistake.
            let bare = known.rsplit('.').next().unwrap_or(&known);
            (strsim::jaro_winkler(name, &known).max(strsim::jaro_winkler(name, bare)), known)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.85).then_some(nearest)
}

/// Kubernetes gives every container variables of the services beside it, so a service that is called `hyphal` brings
/// `HYPHAL_SERVICE_HOST`, `HYPHAL_PORT` and `HYPHAL_PORT_4857_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        rest.is_empty() || rest.starts_with('_') && rest[1..].starts_with(|c: char| c.is_ascii_digit())
    };
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split_once("_PORT").is_some_and(|(_, rest)| is_port(rest))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

const FILE_VARIABLE: &str = "HYPHAL_CONFIG";
