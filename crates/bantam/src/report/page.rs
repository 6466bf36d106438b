//! placeholder until merged
/// The page of a report.
pub fn page(report: &serde_json::Value) -> String {
    report.to_string()
}
