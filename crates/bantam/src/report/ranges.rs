//! The ranges of a layer's channels as a picture (SVG 1.1): bars from the smallest to the largest number, outliers in another colour.

use std::fmt::Write;

use bantam_compress::analyze::Diagnosis;

/// Size of the picture, and what lies around the bars of a panel.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 52.0;
const PANEL: f64 = 200.0;
const GAP: f64 = 56.0;

const STYLE: &str = "text{font:13px sans-serif;fill:#24292f}.name{font-weight:bold;font-size:15px}.end{text-anchor:end}\
    line{stroke:#8c959f}rect.bar{fill:#0969da}rect.outlier{fill:#cf222e}rect.all{fill:#ffffff}";

/// Bars of one kind.
struct Panel<'a> {
    title: String,
    ranges: &'a [[f32; 2]],
    outliers: &'a [usize],
}

/// The picture of a layer: its weight by output channel, and its input by channel where that was observed.
pub(crate) fn picture(layer: &Diagnosis) -> String {
    let ranges = &layer.ranges;
    let panels = [
        Panel::new(
            "weights by output channel",
            &ranges.weight,
            &ranges.weight_outliers,
        ),
        Panel::new("inputs by channel", &ranges.input, &ranges.input_outliers),
    ];
    let panels: Vec<Panel<'_>> = panels
        .into_iter()
        .filter(|panel| !panel.ranges.is_empty())
        .collect();
    let height = TOP + (PANEL + GAP) * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<rect class=\"all\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let name = escaped(&format!("{} ({})", layer.layer, layer.op));
    let _ = writeln!(svg, "<text class=\"name\" x=\"16\" y=\"26\">{name}</text>");
    let loss = format!("{:.6} nats when quantized alone", layer.loss);
    let _ = writeln!(
        svg,
        "<text class=\"end\" x=\"{}\" y=\"26\">{loss}</text>",
        WIDTH - RIGHT
    );
    for (index, panel) in panels.iter().enumerate() {
        panel.draw(TOP + (PANEL + GAP) * index as f64, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

impl<'a> Panel<'a> {
    fn new(what: &str, ranges: &'a [[f32; 2]], outliers: &'a [usize]) -> Panel<'a> {
        let title = match outliers.len() {
            0 => format!("{what} ({})", ranges.len()),
            count => format!("{what} ({}, {count} of them outliers)", ranges.len()),
        };
        Panel {
            title,
            ranges,
            outliers,
        }
    }

    fn draw(&self, top: f64, svg: &mut String) {
        let [low, high] = self.bounds();
        let y = |value: f64| top + 20.0 + (high - value) / (high - low) * (PANEL - 20.0);
        let _ = writeln!(svg, "<text x=\"16\" y=\"{:.1}\">{}</text>", top + 8.0, self.title);
        for value in [high, 0.0, low] {
            let at = y(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                short(value),
            );
        }
        let step = (WIDTH - LEFT - RIGHT) / self.ranges.len() as f64;
        for (channel, range) in self.ranges.iter().enumerate() {
            let [least, most] = range.map(|end| f64::from(if end.is_finite() { end } else { 0.0 }));
            let class = match self.outliers.contains(&channel) {
                true => "outlier",
                false => "bar",
            };
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"><title>{channel}: {} to {}</title></rect>",
                LEFT + step * channel as f64,
                y(most),
                (0.8 * step).max(0.4),
                (y(least) - y(most)).max(0.5),
                short(least),
                short(most),
            );
        }
    }

    /// Ends of the axis, with zero in between.
    fn bounds(&self) -> [f64; 2] {
        let finite = self.ranges.iter().flatten().filter(|end| end.is_finite());
        let [low, high] = finite.fold([0.0; 2], |[low, high]: [f64; 2], end| {
            [low.min(f64::from(*end)), high.max(f64::from(*end))]
        });
        if low < high { [low, high] } else { [low, low + 1.0] }
    }
}

/// A number in few digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.01..1e4).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

/// Text as XML holds it, without what it cannot hold.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => (),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The name of a layer's file: its place, and what of its name every file system takes.
pub(crate) fn file_name(place: usize, layer: &str) -> String {
    let safe = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
            letter
        } else {
            '-'
        }
    };
    let name: String = layer.chars().map(safe).take(80).collect();
    format!("{:03}-{}.svg", place + 1, name.trim_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use bantam_compress::analyze::Ranges;

    use super::*;

    fn layer(name: &str, ranges: Ranges) -> Diagnosis {
        Diagnosis {
            layer: name.to_owned(),
            op: "Conv".to_owned(),
            elements: 4,
            weight_sqnr_db: None,
            loss: 0.25,
            weight_loss: 0.0,
            task_loss: None,
            causes: Vec::new(),
            ranges,
        }
    }

    #[test]
    fn bars_have_the_place_and_colour_of_their_channel() {
        let ranges = Ranges {
            weight: vec![[-1.0, 1.0], [0.0, 3.0]],
            weight_outliers: vec![1],
            ..Ranges::default()
        };
        let svg = picture(&layer("conv", ranges));
        let bars: Vec<&str> = svg
            .lines()
            .filter(|line| line.starts_with("<rect class=\""))
            .skip(1)
            .collect();
        assert_eq!(bars.len(), 2, "{svg}");
        // The axis goes from -1 to 3 over 180: the first bar is half of it, the second three quarters.
        assert!(
            bars[0].starts_with("<rect class=\"bar\" x=\"84.00\" y=\"162.00\""),
            "{}",
            bars[0]
        );
        assert!(
            bars[0].contains("height=\"90.00\"><title>0: -1.000 to 1.000<"),
            "{}",
            bars[0]
        );
        assert!(
            bars[1].starts_with("<rect class=\"outlier\" x=\"514.00\" y=\"72.00\""),
            "{}",
            bars[1]
        );
        assert!(bars[1].contains("height=\"135.00\""), "{}", bars[1]);
        assert!(svg.contains("(2, 1 of them outliers)"));
    }

    #[test]
    fn hostile_names_and_numbers_stay_text() {
        let ranges = Ranges {
            weight: vec![[f32::NEG_INFINITY, f32::NAN]; 2],
            input: vec![[0.0, 0.0]],
            ..Ranges::default()
        };
        let svg = picture(&layer("</text><script>\u{0}\"&", ranges));
        assert!(
            svg.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp; (Conv)"),
            "{svg}"
        );
        assert!(!svg.contains("inf") && !svg.contains("NaN"), "{svg}");
        assert_eq!(file_name(0, "../a b/c.0"), "001-a-b-c.0.svg");
        assert_eq!(file_name(11, ""), "012-.svg");
    }
}
