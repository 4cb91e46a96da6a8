//! The paths of a router, so that the answer to a request for none of them names the nearest.

use std::sync::Arc;

/// How many letters of a path may be wrong.
const NEAR: usize = 3;

/// The paths of a router, with `{name}` where one names something.
#[derive(Debug, Clone)]
pub(crate) struct Paths(Arc<[&'static str]>);

impl FromIterator<&'static str> for Paths {
    fn from_iter<I: IntoIterator<Item = &'static str>>(paths: I) -> Self {
        Self(paths.into_iter().collect())
    }
}

/// A router with its paths.
#[cfg(test)]
pub(crate) fn router<const N: usize>(
    routes: [(&'static str, axum::routing::MethodRouter); N],
) -> (axum::Router, Paths) {
    let paths = routes.iter().map(|(path, _)| *path).collect();
    let whole = routes
        .into_iter()
        .fold(axum::Router::new(), |router, (path, methods)| router.route(path, methods));
    (whole, paths)
}

impl Paths {
    /// The path that is nearest to one that does not exist, if one is near.
    pub(crate) fn nearest(&self, path: &str) -> Option<String> {
        let asked: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let near = self.0.iter().filter_map(|&known| {
            let (distance, near) = distance(known, &asked)?;
            (near != path).then_some((distance, near))
        });
        let near = near.min();
        near.map(|(_, near)| near).or_else(|| self.ending_with(path))
    }

    /// The shortest path that ends so: its beginning may have been left out.
    fn ending_with(&self, path: &str) -> Option<String> {
        let ending = path.trim_end_matches('/');
        let known = self.0.iter().filter(|known| !ending.is_empty() && known.ends_with(ending));
        known.min_by_key(|known| known.len()).map(|known| (*known).to_owned())
    }
}

/// How far a known path is from what was asked for, and the known path with what that names.
fn distance(known: &str, asked: &[&str]) -> Option<(usize, String)> {
    let parts: Vec<&str> = known.split('/').filter(|part| !part.is_empty()).collect();
    if parts.len() != asked.len() {
        return None;
    }
    let (mut total, mut near) = (0, String::new());
    for (part, asked) in parts.into_iter().zip(asked) {
        let is_name = part.starts_with('{');
        if !is_name {
            // The distance of a long text costs time, and is too large anyway.
            let length = part.len().abs_diff(asked.len());
            let part_distance =
                if length > NEAR { length } else { strsim::osa_distance(part, asked) };
            total += part_distance;
            if total > NEAR || part_distance >= part.len() {
                return None;
            }
        }
        near.push('/');
        near.push_str(if is_name { asked } else { part });
    }
    Some((total, near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_path_is_one_that_exists() {
        let paths = Paths(Arc::from([
            "/health",
            "/api/cloud/jobs",
            "/api/cloud/jobs/submit",
            "/api/cloud/jobs/{job}",
            "/api/cloud/jobs/{job}/cancel",
            "/api/queue",
            "/api/queue/holds",
        ]));
        let long = format!("/api/cloud/{}", "x".repeat(10_000));
        for (asked, near) in [
            ("/api/cloud/jobs/", Some("/api/cloud/jobs")),
            ("//api/cloud/jobs", Some("/api/cloud/jobs")),
            ("/api/clod/jobs", Some("/api/cloud/jobs")),
            ("/api/cloud/jobs/7/cancle", Some("/api/cloud/jobs/7/cancel")),
            ("/api/cloud/job/7", Some("/api/cloud/jobs/7")),
            ("/helth", Some("/health")),
            ("/HEALTH", None),
            ("/jobs", Some("/api/cloud/jobs")),
            ("/holds/", Some("/api/queue/holds")),
            ("/", None),
            ("", None),
            ("/x", None),
            ("/favicon.ico", None),
            (&long, None),
        ] {
            assert_eq!(paths.nearest(asked).as_deref(), near, "{asked}");
        }
    }
}
