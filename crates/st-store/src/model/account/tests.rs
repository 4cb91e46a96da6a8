//! Accounts: read back from their text whatever their name, and compared by what both know.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const URL: &str = "https://api.example.com/v1";

#[test]
fn the_text_of_an_account_says_what_is_known_of_it() {
    let text = |name, credential| AccountId::new(URL, name, credential).to_string();
    assert_eq!(text(None, None), URL);
    assert_eq!(text(Some("ann"), None), format!("{URL} {{\"name\":\"ann\"}}"));
    assert_eq!(text(None, Some("ab12")), format!("{URL} {{\"credential\":\"ab12\"}}"));
    let both = format!("{URL} {{\"credential\":\"ab12\",\"name\":\"ann\"}}");
    assert_eq!(text(Some("ann"), Some("ab12")), both);
    assert_eq!(text(Some(""), Some("")), URL, "an empty text is none");
    assert_eq!(format!("[{:>4}]", AccountId::new("m1", None, None)), "[  m1]");
}

#[test]
fn a_text_that_is_only_a_base_url_is_an_account_of_which_no_more_is_known() {
    let account: AccountId = URL.parse().unwrap();
    assert_eq!((account.base_url(), account.name(), account.credential()), (URL, None, None));
    let whole: AccountId = format!("{URL} {{\"name\":\"a b\\u0000\"}}").parse().unwrap();
    assert_eq!((whole.base_url(), whole.name()), (URL, Some("a b\0")));
}

#[test]
fn other_texts_are_no_accounts() {
    for bad in [
        "u ",
        "u x",
        "u {}",
        "u []",
        "u {\"name\":7}",
        "u {\"name\":\"\"}",
        "u {\"name\":null}",
        "u {\"name\":\"a\"",
        "u {\"name\":\"a\"} x",
        "u {\"name\":\"a\",\"team\":\"b\"}",
        "u\t{\"name\":\"a\"}",
        "u\0",
    ] {
        assert_eq!(bad.parse::<AccountId>(), Err(InvalidAccount), "{bad:?}");
    }
}

#[test]
fn accounts_are_compared_by_what_both_know() {
    // Each account against each: those above the diagonal are the same.
    let accounts = [
        (None, None),
        (Some("ann"), None),
        (Some("bob"), None),
        (None, Some("1")),
        (None, Some("2")),
        (Some("ann"), Some("1")),
        (Some("ann"), Some("2")),
        (Some("bob"), Some("1")),
    ];
    let same = [
        "11111111", "11011110", "10111001", "11110101", "11101010", "11010110", "11001110",
        "10110001",
    ];
    for (row, &(name, credential)) in accounts.iter().enumerate() {
        let one = AccountId::new(URL, name, credential);
        let found: String = accounts
            .iter()
            .map(|&(name, credential)| AccountId::new(URL, name, credential))
            .map(|two| if one.is_same(&two) { '1' } else { '0' })
            .collect();
        assert_eq!(found, same[row], "{one}");
        let elsewhere = AccountId::new("https://other", name, credential);
        assert!(!one.is_same(&elsewhere) && !elsewhere.is_same(&one), "{one}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_account_survives_text(
        url in any::<String>(),
        name in any::<Option<String>>(),
        credential in any::<Option<String>>(),
    ) {
        let account = AccountId::new(url, name.as_deref(), credential.as_deref());
        let text = account.to_string();
        prop_assert!(!text.contains('\0'), "not every database stores it");
        prop_assert_eq!(text.parse::<AccountId>(), Ok(account));
    }
}

#[test]
fn what_is_not_known_may_be_any_account() {
    let (ann, bob) =
        (AccountId::new("u", Some("ann"), None), AccountId::new("u", Some("bob"), None));
    for (one, other, may_be) in [
        (Some(&ann), Some(&ann), true),
        (Some(&ann), Some(&bob), false),
        (Some(&ann), None, true),
        (None, Some(&bob), true),
        (None, None, true),
    ] {
        assert_eq!(AccountId::may_be_same(one, other), may_be, "{one:?} {other:?}");
    }
}
