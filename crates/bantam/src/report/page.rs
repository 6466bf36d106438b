//! The report as one HTML file that needs nothing else.

use serde_json::Value;

const TEMPLATE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
const CHART: &str = include_str!("assets/chart.umd.min.js");
const CHART_LICENCE: &str = include_str!("assets/chart.LICENSE.md");
const CHART_VERSION: &str = "4.6.1";

/// Scripts of the page. They share one scope, so that each uses only what stands before it when it runs.
const SCRIPTS: &[&str] = &[
    include_str!("assets/format.js"),
    include_str!("assets/elements.js"),
    include_str!("assets/plots.js"),
    include_str!("assets/headline.js"),
    include_str!("assets/candidates.js"),
    include_str!("assets/front.js"),
    include_str!("assets/pareto.js"),
    include_str!("assets/alternatives.js"),
    include_str!("assets/layers.js"),
    include_str!("assets/histograms.js"),
    include_str!("assets/breakdown.js"),
    include_str!("assets/robustness.js"),
    include_str!("assets/repeat.js"),
    include_str!("assets/main.js"),
];

/// A page that shows a report (`report.json` of `bantam compress`) in any browser, without a network.
///
/// A section appears only where the report has its data; whatever else the report holds is carried along. Shares are 0..1,
/// sizes bytes, latencies milliseconds. Texts of the report are shown as texts, whatever they contain.
///
/// # Example
/// ```
/// let report = serde_json::json!({ "model": "resnet20.onnx", "after": { "bytes": 283_000 } });
/// assert!(bantam::report::page(&report).starts_with("<!doctype html>"));
/// ```
pub fn page(report: &Value) -> String {
    let title = match report["model"].as_str() {
        Some(model) => format!("{model} · Bantam report"),
        None => "Bantam report".to_owned(),
    };
    let parts = [
        ("title", escape_text(&title)),
        ("style", STYLE.to_owned()),
        ("chart_version", CHART_VERSION.to_owned()),
        ("chart_licence", escape_text(CHART_LICENCE)),
        ("chart", CHART.to_owned()),
        ("report", escape_json(report)),
        ("scripts", SCRIPTS.concat()),
    ];
    fill(TEMPLATE, &parts)
}

/// Puts parts in the place of `{{name}}`. The template alone is searched, so that a part may hold whatever it likes.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let length = parts.iter().map(|(_, part)| part.len()).sum::<usize>();
    let mut filled = String::with_capacity(template.len() + length);
    let mut rest = template;
    while let Some((before, name, after)) = next_place(rest) {
        filled.push_str(before);
        if let Some((_, part)) = parts.iter().find(|(known, _)| *known == name) {
            filled.push_str(part);
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// What stands before the next `{{name}}`, the name, and what stands behind.
fn next_place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

/// Text for an element's content.
fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// JSON for a script element: `</script>` and `<!--` would end or change it, and U+2028 and U+2029 end lines in older
/// JavaScript. All of these only occur inside of strings, where an escape means the same.
fn escape_json(report: &Value) -> String {
    report
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The report that a browser would read from the page: what stands between the tags, as HTML has it.
    fn embedded(page: &str) -> &str {
        let (_, rest) = page.split_once("id=\"report\">").unwrap();
        rest.split_once("</script").unwrap().0
    }

    #[test]
    fn texts_of_all_kinds_survive() {
        for text in [
            "plain",
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "]]> & &lt; &amp;",
            "line\u{2028}paragraph\u{2029}end",
            "quotes \" ' ` and \\ and \n",
            "{{style}} {{report}} {{",
            "größer 模型 🐓",
        ] {
            let report = json!({ "model": text, "warnings": [text], text: 1 });
            let page = page(&report);
            let found = embedded(&page);
            assert_eq!(serde_json::from_str::<Value>(found).unwrap(), report, "{text}");
            assert!(!found.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{text}");
        }
    }

    #[test]
    fn hostile_texts_add_no_element() {
        let elements = |page: &str| {
            ["<script", "</script", "<title", "</title", "<img", "<!--"].map(|tag| page.matches(tag).count())
        };
        let hostile = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)><!--";
        let harmless = page(&json!({ "model": "a.onnx", "command": "b" }));
        let attacked = page(&json!({ "model": hostile, "command": hostile }));
        assert_eq!(elements(&attacked), elements(&harmless));
    }

    #[test]
    fn any_report_gives_a_whole_page() {
        for report in [
            json!({}),
            json!(null),
            json!([1, 2]),
            json!({ "bantam": "0.1.0", "model": "a.onnx", "warnings": [] }),
            json!({ "model": 3, "candidates": [], "after": null }),
        ] {
            let page = page(&report);
            assert!(
                page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
                "{report}"
            );
            assert_eq!(serde_json::from_str::<Value>(embedded(&page)).unwrap(), report);
        }
    }

    #[test]
    fn titles_name_the_model() {
        let title = |report: Value| {
            let page = page(&report);
            let (_, rest) = page.split_once("<title>").unwrap();
            rest.split_once("</title>").unwrap().0.to_owned()
        };
        assert_eq!(
            title(json!({ "model": "a<b>&c.onnx" })),
            "a&lt;b&gt;&amp;c.onnx · Bantam report"
        );
        assert_eq!(title(json!({})), "Bantam report");
    }

    #[test]
    fn every_place_of_the_template_is_filled_once() {
        let filled = fill(
            "a {{x}} b {{y}} {{z",
            &[("x", "{{y}}".to_owned()), ("y", "2".to_owned())],
        );
        assert_eq!(filled, "a {{y}} b 2 {{z");
        let names = [
            "title",
            "style",
            "chart_version",
            "chart_licence",
            "report",
            "chart",
            "scripts",
        ];
        let mut rest = TEMPLATE;
        let mut found = Vec::new();
        while let Some((_, name, after)) = next_place(rest) {
            found.push(name);
            rest = after;
        }
        assert_eq!(found, names);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = page(&json!({ "model": "a.onnx" }));
        for loading in ["<link", " src=", "@import", "url(", "sourceMappingURL"] {
            assert!(!page.contains(loading), "{loading}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn charts_library_is_the_named_version_with_its_licence() {
        assert!(CHART.contains(&format!("Chart.js v{CHART_VERSION}\n")));
        assert!(include_str!("assets/README.md").contains(&format!("Chart.js {CHART_VERSION} ")));
        assert!(page(&json!({})).contains("The MIT License (MIT)"));
        assert!(SCRIPTS.iter().all(|script| !script.contains("</script")) && !CHART.contains("</script"));
    }
}
