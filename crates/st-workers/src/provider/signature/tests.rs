//! What is a good signature, and what is none. The signatures of the examples were made by another
//! implementation.

use http::HeaderValue;

use super::*;

/// The secret of the provider's documentation.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const WHEN: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"id": "rmnv2hmxf9rma0cr9s3s6h2qtr", "status": "succeeded"}"#;
/// As another implementation of HMAC computed it.
const SIGNED: &str = "v1,avn+qKuDicxNafYhpnCi1kTjf91UAlTikIl8NQk0EQo=";
const OTHER: &str = "v1,bm9ldHUK5ehPUYm5m4n2ucehy0pR7EDgm7kpY30qvcM=";

fn headers(signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ID, HeaderValue::from_static("msg_p5jXN8AQM9LWM0D4loKWxJek"));
    headers.insert(TIMESTAMP, HeaderValue::from(WHEN));
    headers.insert(SIGNATURE, signature.parse().unwrap());
    headers
}

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).unwrap()
}

fn other() -> WebhookSecret {
    WebhookSecret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap()
}

fn check(headers: &HeaderMap, body: &[u8], late_by: i64) -> Result<(), BadSignature> {
    let now = Timestamp::from_second(WHEN + late_by).unwrap();
    Signed::read(headers, body, now)?.check([&secret()])
}

#[test]
fn a_signature_of_another_implementation_is_good() {
    assert_eq!(check(&headers(SIGNED), BODY, 0), Ok(()));
    let signed = |headers: &HeaderMap| {
        Signed::read(headers, BODY, Timestamp::from_second(WHEN).unwrap()).unwrap().id.to_string()
    };
    assert_eq!(signed(&headers(SIGNED)), "msg_p5jXN8AQM9LWM0D4loKWxJek");
}

#[test]
fn any_signature_of_our_version_may_match_with_any_secret() {
    for good in [
        format!("{OTHER} {SIGNED}"),
        format!("{SIGNED} {OTHER}"),
        format!("v2,x v1a,y {SIGNED}"),
        format!("v1,not-base64 v1 , {SIGNED}"),
    ] {
        assert_eq!(check(&headers(&good), BODY, 0), Ok(()), "{good}");
    }
    let bare = SIGNED.trim_start_matches("v1,");
    let beyond = format!("{}{SIGNED}", format!("{OTHER} ").repeat(MOST_SIGNATURES));
    for bad in [OTHER, "", "v1,", bare, &format!("v2,{bare}"), &format!("V1,{bare}"), &beyond] {
        assert_eq!(check(&headers(bad), BODY, 0), Err(BadSignature::NoMatch), "{bad}");
    }
    let headers = headers(SIGNED);
    let signed = Signed::read(&headers, BODY, Timestamp::from_second(WHEN).unwrap()).unwrap();
    assert_eq!(signed.check([&other(), &secret()]), Ok(()), "while secrets are rotated");
    assert_eq!(signed.check([&other()]), Err(BadSignature::NoMatch));
    assert_eq!(signed.check([]), Err(BadSignature::NoMatch));
}

#[test]
fn what_is_signed_is_the_identifier_the_time_and_the_body() {
    for position in 0..BODY.len() {
        for bit in 0..8 {
            let mut flipped = BODY.to_vec();
            flipped[position] ^= 1 << bit;
            assert_eq!(check(&headers(SIGNED), &flipped, 0), Err(BadSignature::NoMatch));
        }
    }
    for length in 0..BODY.len() {
        assert_eq!(check(&headers(SIGNED), &BODY[..length], 0), Err(BadSignature::NoMatch));
    }
    let mut replayed = headers(SIGNED);
    replayed.insert(ID, HeaderValue::from_static("msg_another"));
    assert_eq!(check(&replayed, BODY, 0), Err(BadSignature::NoMatch));
    let mut later = headers(SIGNED);
    later.insert(TIMESTAMP, HeaderValue::from(WHEN + 1));
    assert_eq!(check(&later, BODY, 0), Err(BadSignature::NoMatch));
    // The digits themselves are signed.
    let mut padded = headers(SIGNED);
    padded.insert(TIMESTAMP, format!("0{WHEN}").parse().unwrap());
    assert_eq!(check(&padded, BODY, 0), Err(BadSignature::NoMatch));
}

#[test]
fn the_time_may_differ_by_five_minutes_in_either_direction() {
    for late_by in [-300, -1, 0, 300] {
        assert_eq!(check(&headers(SIGNED), BODY, late_by), Ok(()), "{late_by}");
    }
    for (late_by, direction) in [(301_i64, "behind"), (-301, "ahead of"), (86_400, "behind")] {
        let seconds = u64::try_from(late_by.abs()).unwrap();
        let expected = BadSignature::Time { seconds, direction };
        assert_eq!(check(&headers(SIGNED), BODY, late_by), Err(expected));
    }
}

#[test]
fn each_header_is_there_once_and_legal() {
    let named = |headers: &HeaderMap| match check(headers, BODY, 0) {
        Err(BadSignature::Header { header, .. }) => header,
        other => panic!("{other:?}"),
    };
    for name in [ID, TIMESTAMP, SIGNATURE] {
        let mut without = headers(SIGNED);
        without.remove(&name);
        assert_eq!(named(&without), name.as_str());
        let mut twice = headers(SIGNED);
        twice.append(&name, headers(SIGNED)[&name].clone());
        assert_eq!(named(&twice), name.as_str());
    }
    for bad in ["", "x", "-5", "+1614265330", "1614265330.5", "99999999999999999999"] {
        let mut headers = headers(SIGNED);
        headers.insert(TIMESTAMP, bad.parse().unwrap());
        assert_eq!(named(&headers), "webhook-timestamp", "{bad}");
    }
    let mut long = headers(SIGNED);
    long.insert(ID, "x".repeat(257).parse().unwrap());
    assert_eq!(named(&long), "webhook-id");
}

#[test]
fn a_secret_is_read_with_its_prefix_or_without_and_never_printed() {
    assert_eq!(
        secret(),
        WebhookSecret::parse(&format!(" {}\n", SECRET.trim_start_matches("whsec_"))).unwrap()
    );
    assert_eq!(format!("{:?}", secret()), "WebhookSecret(..)");
    for bad in ["", "whsec_", "whsec_***", "whsec_AAAA", "r8_token"] {
        assert_eq!(WebhookSecret::parse(bad), Err(InvalidWebhookSecret), "{bad}");
    }
}
