//! Where the channels of a value are: `NCHW`, `NHWC` and their relatives.

use serde::Deserialize;

use super::suggest;

/// Order of the dimensions of a value: samples, channels, space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Layout {
    /// Number of spatial dimensions: 2 for images.
    pub spatial: usize,
    /// Where the channels are.
    pub channels: Channels,
}

/// Where the channels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// There is no dimension for channels: one channel.
    Missing,
    /// Before the spatial dimensions.
    First,
    /// After the spatial dimensions.
    Last,
}

/// The commonest first: of equally near spellings the first is suggested.
const NAMES: &[(&str, Layout)] = &[
    ("NCHW", layout(2, Channels::First)),
    ("NHWC", layout(2, Channels::Last)),
    ("NC", layout(0, Channels::First)),
    ("NW", layout(1, Channels::Missing)),
    ("NCW", layout(1, Channels::First)),
    ("NWC", layout(1, Channels::Last)),
    ("NHW", layout(2, Channels::Missing)),
    ("NDHW", layout(3, Channels::Missing)),
    ("NCDHW", layout(3, Channels::First)),
    ("NDHWC", layout(3, Channels::Last)),
];

const fn layout(spatial: usize, channels: Channels) -> Layout {
    Layout { spatial, channels }
}

impl TryFrom<String> for Layout {
    type Error = String;

    fn try_from(name: String) -> Result<Layout, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, layout)| *layout).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown layout {name:?}; {}", suggest::hint(&name, &names))
        })
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = NAMES.iter().find(|(_, layout)| layout == self);
        f.write_str(found.map_or("?", |(name, _)| name))
    }
}

impl Layout {
    /// Images as they are decoded.
    pub(crate) const NHWC: Layout = layout(2, Channels::Last);

    /// The same space with the channels elsewhere.
    fn with(self, channels: Channels) -> Layout {
        Layout { channels, ..self }
    }

    /// Number of dimensions of one sample.
    pub(crate) fn row_rank(self) -> usize {
        self.spatial + usize::from(self.channels != Channels::Missing)
    }

    /// Channels of a sample of this layout and shape.
    pub(crate) fn channel_count(self, row_shape: &[usize]) -> usize {
        match self.channels {
            Channels::Missing => 1,
            Channels::First => row_shape[0],
            Channels::Last => row_shape[self.spatial],
        }
    }

    /// Shape of the same sample in the layout `to`; `None` if `to` has no room for the channels.
    pub(crate) fn converted_shape(self, row_shape: &[usize], to: Layout) -> Option<Vec<usize>> {
        let channels = self.channel_count(row_shape);
        let space = match self.channels {
            Channels::First => &row_shape[1..],
            _ => &row_shape[..self.spatial],
        };
        match to.channels {
            Channels::Missing => (channels == 1).then(|| space.to_vec()),
            Channels::First => Some([&[channels], space].concat()),
            Channels::Last => Some([space, &[channels]].concat()),
        }
    }

    /// The layout of samples of this shape that are wanted in layout `to`, guessed: as many channels as there are
    /// means, else 1, 3 or 4 channels at one end only, else no change. `None` if the rank fits neither.
    pub(crate) fn detect(row_shape: &[usize], to: Layout, channels: Option<usize>) -> Option<Layout> {
        if row_shape.len() == to.spatial {
            return Some(to.with(Channels::Missing));
        }
        if row_shape.len() != to.spatial + 1 {
            return None;
        }
        let fits = |dimension: usize| match channels {
            Some(channels) => dimension == channels,
            None => matches!(dimension, 1 | 3 | 4),
        };
        Some(match (fits(row_shape[0]), fits(row_shape[to.spatial])) {
            (true, false) => to.with(Channels::First),
            (false, true) if to.spatial > 0 => to.with(Channels::Last),
            _ if to.channels == Channels::Missing => to.with(Channels::First),
            _ => to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Layout {
        Layout::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn shapes_are_converted() {
        type Case = (
            &'static str,
            &'static [usize],
            &'static str,
            Option<&'static [usize]>,
        );
        let cases: &[Case] = &[
            ("NHWC", &[4, 5, 3], "NCHW", Some(&[3, 4, 5])),
            ("NCHW", &[3, 4, 5], "NHWC", Some(&[4, 5, 3])),
            ("NHW", &[4, 5], "NCHW", Some(&[1, 4, 5])),
            ("NHWC", &[4, 5, 1], "NHW", Some(&[4, 5])),
            ("NHWC", &[4, 5, 3], "NHW", None),
            ("NC", &[7], "NC", Some(&[7])),
        ];
        for (from, shape, to, expected) in cases {
            let converted = parse(from).converted_shape(shape, parse(to));
            assert_eq!(converted.as_deref(), *expected, "{from} {shape:?} {to}");
        }
    }

    #[test]
    fn layouts_are_detected() {
        type Case = (
            &'static [usize],
            &'static str,
            Option<usize>,
            Option<&'static str>,
        );
        let cases: &[Case] = &[
            (&[3, 32, 32], "NCHW", Some(3), Some("NCHW")),
            (&[32, 32, 3], "NCHW", Some(3), Some("NHWC")),
            (&[32, 32, 3], "NCHW", None, Some("NHWC")),
            (&[49, 10, 1], "NHWC", None, Some("NHWC")),
            (&[3, 32, 3], "NCHW", None, Some("NCHW")),
            (&[64, 8, 8], "NCHW", None, Some("NCHW")),
            (&[64, 8, 8], "NHWC", Some(64), Some("NCHW")),
            (&[28, 28], "NCHW", None, Some("NHW")),
            (&[1, 28, 28], "NHW", None, Some("NCHW")),
            (&[12], "NC", None, Some("NC")),
            (&[3, 32], "NCHW", None, Some("NHW")),
            (&[3], "NCHW", None, None),
            (&[2, 3, 4, 5], "NCHW", None, None),
        ];
        for (shape, to, channels, expected) in cases {
            let detected = Layout::detect(shape, parse(to), *channels);
            assert_eq!(detected, expected.map(parse), "{shape:?} {to}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(parse("NHWC").to_string(), "NHWC");
        let error = Layout::try_from("NHCW".to_owned()).unwrap_err();
        assert!(error.contains("did you mean \"NCHW\"?"), "{error}");
    }
}
