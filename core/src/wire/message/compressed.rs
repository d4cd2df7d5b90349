//! How a payload may be compressed, and which methods a node takes.

/// How a payload is compressed.
///
/// Without gaps, as every queued message has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(Rust, packed)]
pub struct Compressed {
    /// With what.
    pub method: Method,
    /// Bytes of the payload before compression.
    pub original: u32,
}

/// A method of compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// One LZ4 block.
    Lz4 = 1,
    /// One Zstandard frame.
    Zstd = 2,
}

impl Method {
    /// Every method, in order of code.
    pub const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// The code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name as it stands in logs and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The method with this code, if this version knows it.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Methods of compression: those that a node takes, as the capability bits of its hello, or those of some messages.
///
/// A method's bit is that of its code, so bit 0 is none's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods(u16);

impl Methods {
    /// No compression.
    pub const NONE: Self = Self(0);
    /// LZ4, which needs no heap and no memory beside the output.
    pub const LZ4: Self = Self::NONE.and(Method::Lz4);
    /// All that this version knows.
    pub const ALL: Self = Self::LZ4.and(Method::Zstd);

    /// The methods among capability bits; the other bits mean something else.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// As capability bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The same and this method.
    #[must_use]
    pub const fn and(self, method: Method) -> Self {
        Self(self.0 | 1 << method.code())
    }

    /// Whether the method is among them.
    #[inline]
    pub const fn has(self, method: Method) -> bool {
        self.0 & 1 << method.code() != 0
    }

    /// Whether all of `others` are among them.
    #[inline]
    pub const fn has_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }
}

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Self::NONE, Self::and)
    }
}
