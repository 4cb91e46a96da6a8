//! Which rows a filter lets through.

use super::*;

fn words(filter: QueueFilter) -> String {
    filter.statuses().iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn without_a_status_only_entries_that_are_not_over_are_listed() {
    let all = |include_completed| QueueFilter { include_completed, ..QueueFilter::default() };
    assert_eq!(words(QueueFilter::default()), "blocked pending ready running");
    assert_eq!(words(all(false)), "blocked pending ready running");
    assert_eq!(words(all(true)), "blocked pending ready running completed failed cancelled");
}

#[test]
fn a_status_lists_itself_also_when_it_is_final() {
    for &status in QueueStatus::ALL {
        for include_completed in [false, true] {
            let filter = QueueFilter { status: Some(status), include_completed, after: None };
            assert_eq!(filter.statuses(), [status], "{include_completed}");
        }
    }
}

#[test]
fn filters_and_pages_let_everything_through_unless_they_say_otherwise() {
    assert_eq!(PageRequest::default(), PageRequest { limit: 50, offset: 0 });
    let all = JobFilter { job_type: None, status: None, provider: None, user: None, before: None };
    assert_eq!(JobFilter::default(), all);
    assert_eq!(RequestFilter::default(), RequestFilter { status: None, user: None, before: None });
}

#[test]
fn a_damaged_row_names_its_table_its_key_and_its_problem() {
    let row = DamagedRow { table: "jobs", key: "j-1".to_owned(), problem: "cost".to_owned() };
    assert_eq!(row.to_string(), "jobs row j-1: cost");
    assert_eq!(format!("[{row:>20}]"), "[  jobs row j-1: cost]");
}
