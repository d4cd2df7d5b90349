//! The kinds of values that settings have: how each is read, written as TOML and described.
//!
//! A kind knows nothing of sources. It gets a [`Raw`] value and answers with the value or the [`Problem`]; who asked
//! adds the place.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyphal_core::ids::Roles;
use tracing_subscriber::filter::Targets;

/// A value before its kind has read it.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) value: RawValue,
    /// Where it stands in the file; empty for other sources.
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum RawValue {
    /// From the environment or the command line, where everything is text.
    Loose(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array, or a flag that was repeated.
    List(Vec<Raw>),
    /// Any other TOML value, by the name of its type.
    Other(&'static str),
}

impl Raw {
    pub(super) fn loose(text: &str) -> Self {
        Self { value: RawValue::Loose(text.to_owned()), span: 0..0 }
    }

    fn text(&self, wanted: &str) -> Result<&str, Problem> {
        match &self.value {
            RawValue::Loose(text) | RawValue::Text(text) => Ok(text),
            _ => Err(self.problem(format!("{wanted} is expected, not {}", self.describe()))),
        }
    }

    fn problem(&self, text: impl Into<String>) -> Problem {
        Problem { text: text.into(), span: self.span.clone() }
    }

    fn describe(&self) -> &'static str {
        match self.value {
            RawValue::Loose(_) | RawValue::Text(_) => "a string",
            RawValue::Integer(_) => "an integer",
            RawValue::Boolean(_) => "a boolean",
            RawValue::List(_) => "a list",
            RawValue::Other(name) => name,
        }
    }
}

/// What is wrong with a value, and where in the file.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

pub(super) trait Kind {
    type Value;

    fn read(&self, raw: &Raw) -> Result<Self::Value, Problem>;
    /// The value as it stands in a TOML file.
    fn write(&self, value: &Self::Value) -> String;
    fn allowed(&self) -> String;
}

/// A path that the source's place has yet to make absolute.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, raw: &Raw) -> Result<PathBuf, Problem> {
        let text = raw.text("a path")?;
        if text.is_empty() || text.contains('\0') {
            return Err(raw.problem("the path is empty or has a zero byte"));
        }
        Ok(text.into())
    }

    fn write(&self, value: &PathBuf) -> String {
        quoted(&value.display().to_string())
    }

    fn allowed(&self) -> String {
        "a path".to_owned()
    }
}

/// The name of a network.
pub(super) struct Network;

impl Network {
    const LONGEST: usize = 255;
}

impl Kind for Network {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let text = raw.text("a name")?;
        if text.is_empty() || text.len() > Self::LONGEST {
            return Err(raw.problem(format!("the name has {} bytes", text.len())));
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(raw.problem("the name begins or ends with a space, or has a control character"));
        }
        Ok(text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn allowed(&self) -> String {
        format!("1 to {} bytes of text without control characters", Self::LONGEST)
    }
}

/// The name of a role.
pub(super) struct Role;

impl Kind for Role {
    type Value = Roles;

    fn read(&self, raw: &Raw) -> Result<Roles, Problem> {
        let text = raw.text("the name of a role")?;
        Roles::named(text).ok_or_else(|| raw.problem(format!("there is no role '{text}'")))
    }

    fn write(&self, value: &Roles) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        let names: Vec<_> = Roles::NAMED.iter().map(|(name, _)| *name).collect();
        format!("{}, role-0 to role-31", names.join(", "))
    }
}

/// A filter for log lines.
pub(super) struct Filter;

impl Kind for Filter {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, Problem> {
        let text = raw.text("a filter")?;
        // `Targets` takes a lone unknown word for a module, so a mistyped level would switch everything on.
        for directive in text.split(',').map(str::trim) {
            let (module, level) = directive.rsplit_once('=').map_or((None, directive), |(m, l)| (Some(m), l));
            let is_level = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
            let is_module = |name: &str| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
            };
            if !is_level || !module.is_none_or(is_module) {
                return Err(raw.problem(format!("'{directive}' is neither LEVEL nor MODULE=LEVEL")));
            }
        }
        text.parse::<Targets>().map_err(|error| raw.problem(error.to_string()))?;
        Ok(text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn allowed(&self) -> String {
        "LEVEL or MODULE=LEVEL, separated by commas; LEVEL is off, error, warn, info, debug or trace"
            .to_owned()
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `true` or `false`.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, raw: &Raw) -> Result<bool, Problem> {
        match &raw.value {
            RawValue::Boolean(value) => Ok(*value),
            RawValue::Loose(text) => {
                text.parse().map_err(|_| raw.problem(format!("'{text}' is neither true nor false")))
            }
            _ => Err(raw.problem(format!("true or false is expected, not {}", raw.describe()))),
        }
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        "true, false".to_owned()
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, Problem> {
        let text = raw.text("a word")?;
        let choice = self.0.iter().find(|(word, _)| *word == text);
        choice.map(|(_, value)| *value).ok_or_else(|| raw.problem(format!("'{text}' is none of the choices")))
    }

    fn write(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value).map_or("", |(word, _)| *word);
        quoted(word)
    }

    fn allowed(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }
}

/// A whole number: plain, or a size in bytes that may carry a unit.
pub(super) struct Number<T> {
    least: u64,
    most: u64,
    is_size: bool,
    kind: PhantomData<T>,
}

impl<T> Number<T> {
    pub(super) const fn plain(least: u64, most: u64) -> Self {
        Self { least, most, is_size: false, kind: PhantomData }
    }

    pub(super) const fn bytes(least: u64, most: u64) -> Self {
        Self { least, most, is_size: true, kind: PhantomData }
    }

    fn show(&self, value: u64) -> String {
        if !self.is_size {
            return value.to_string();
        }
        let unit =
            SIZE_UNITS.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
        unit.map_or_else(|| format!("{value} B"), |(unit, factor)| format!("{} {unit}", value / factor))
    }
}

impl<T: TryFrom<u64> + Copy + Display> Kind for Number<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, Problem> {
        let unreadable = |text: &str| raw.problem(format!("'{text}' is not a {}", self.noun()));
        let number = match &raw.value {
            RawValue::Integer(value) => {
                u64::try_from(*value).map_err(|_| raw.problem(format!("{value} is negative")))?
            }
            RawValue::Loose(text) if !self.is_size => digits(text).ok_or_else(|| unreadable(text))?,
            RawValue::Loose(text) | RawValue::Text(text) if self.is_size => {
                size(text).ok_or_else(|| unreadable(text))?
            }
            _ => return Err(raw.problem(format!("a {} is expected, not {}", self.noun(), raw.describe()))),
        };
        if number < self.least {
            return Err(raw.problem(format!("{} is too small", self.show(number))));
        }
        if number > self.most {
            return Err(raw.problem(format!("{} is too large", self.show(number))));
        }
        T::try_from(number)
            .map_err(|_| raw.problem(format!("{} is too large for this machine", self.show(number))))
    }

    fn write(&self, value: &T) -> String {
        let text = value.to_string();
        match text.parse() {
            Ok(number) if self.is_size => quoted(&self.show(number)),
            _ => text,
        }
    }

    fn allowed(&self) -> String {
        format!("{} to {}", self.show(self.least), self.show(self.most))
    }
}

impl<T> Number<T> {
    const fn noun(&self) -> &'static str {
        if self.is_size { "size, as 4096 or \"4 KiB\"," } else { "whole number" }
    }
}

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Only the binary units, since half of the world reads KB as 1000 bytes and the other half as 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let factor = match SIZE_UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return None,
    };
    digits(number)?.checked_mul(factor)
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.trim().replace('_', "");
    if plain.bytes().all(|byte| byte.is_ascii_digit()) { plain.parse().ok() } else { None }
}

/// A span of time with its unit.
pub(super) struct Span {
    least: &'static str,
    most: &'static str,
}

impl Span {
    pub(super) const fn between(least: &'static str, most: &'static str) -> Self {
        Self { least, most }
    }
}

impl Kind for Span {
    type Value = Duration;

    fn read(&self, raw: &Raw) -> Result<Duration, Problem> {
        let (RawValue::Loose(text) | RawValue::Text(text)) = &raw.value else {
            return Err(
                raw.problem(format!("a span with its unit is expected, as \"5s\", not {}", raw.describe()))
            );
        };
        let span = humantime::parse_duration(text).map_err(|_| {
            raw.problem(format!("'{text}' is not a span with its unit, as \"5s\" or \"250ms\""))
        })?;
        // The bounds are our own literals; were one unreadable, it would not bound.
        if humantime::parse_duration(self.least).is_ok_and(|least| span < least) {
            return Err(raw.problem(format!("{text} is too short")));
        }
        if humantime::parse_duration(self.most).is_ok_and(|most| span > most) {
            return Err(raw.problem(format!("{text} is too long")));
        }
        Ok(span)
    }

    fn write(&self, value: &Duration) -> String {
        quoted(&humantime::format_duration(*value).to_string())
    }

    fn allowed(&self) -> String {
        format!("{} to {}", self.least, self.most)
    }
}

/// Text that a type reads by itself.
pub(super) struct Text<T> {
    form: &'static str,
    kind: PhantomData<T>,
}

impl<T> Text<T> {
    pub(super) const fn new(form: &'static str) -> Self {
        Self { form, kind: PhantomData }
    }
}

impl<T: FromStr + Display> Kind for Text<T>
where
    T::Err: Display,
{
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, Problem> {
        let text = raw.text("a string")?;
        text.parse().map_err(|error: T::Err| raw.problem(format!("'{text}': {error}")))
    }

    fn write(&self, value: &T) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        self.form.to_owned()
    }
}

/// A list. In the environment its items are separated by commas, and an empty text is the empty list.
pub(super) struct List<K>(pub(super) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, raw: &Raw) -> Result<Vec<K::Value>, Problem> {
        match &raw.value {
            RawValue::List(items) => items.iter().map(|item| self.0.read(item)).collect(),
            RawValue::Loose(text) if text.trim().is_empty() => Ok(Vec::new()),
            RawValue::Loose(text) => {
                text.split(',').map(|item| self.0.read(&Raw::loose(item.trim()))).collect()
            }
            _ => Err(raw.problem(format!("a list is expected, not {}", raw.describe()))),
        }
    }

    fn write(&self, value: &Vec<K::Value>) -> String {
        let items: Vec<_> = value.iter().map(|item| self.0.write(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn allowed(&self) -> String {
        format!("a list of: {}", self.0.allowed())
    }
}

/// A value, or a word for its absence.
pub(super) struct Maybe<K> {
    pub(super) word: &'static str,
    pub(super) means: &'static str,
    pub(super) kind: K,
}

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;

    fn read(&self, raw: &Raw) -> Result<Option<K::Value>, Problem> {
        match &raw.value {
            RawValue::Loose(text) | RawValue::Text(text) if text == self.word => Ok(None),
            _ => self.kind.read(raw).map(Some),
        }
    }

    fn write(&self, value: &Option<K::Value>) -> String {
        value.as_ref().map_or_else(|| quoted(self.word), |value| self.kind.write(value))
    }

    fn allowed(&self) -> String {
        format!("{}, or \"{}\" ({})", self.kind.allowed(), self.word, self.means)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
