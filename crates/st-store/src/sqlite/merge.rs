//! The page of a list that is merged from groups of rows. In an index that begins with a group's
//! columns, the keys of one group are in the order of the list; several groups are read side by side,
//! a few keys of each at a time. So a page costs what it shows, whatever else there is.

use std::collections::VecDeque;

use crate::error::Result;
use crate::model::PageRequest;

/// How many keys of a group are read first, and at most at once.
const FEW: u32 = 16;
const MOST: u32 = 512;

/// The keys of one group that were read and are not on the page yet.
struct Ahead<K> {
    keys: VecDeque<K>,
    /// How many the next read asks for; 0 when there are no more.
    next_read: u32,
    /// Where the next read continues.
    behind: K,
}

/// The keys of a page of what is behind `behind`, the smallest first. `read` returns the smallest
/// keys of a group behind one, and at most so many.
pub(super) fn merged<G, K: Ord + Clone>(
    groups: &[G],
    behind: &K,
    page: PageRequest,
    read: impl Fn(&G, &K, u32) -> Result<Vec<K>>,
) -> Result<Vec<K>> {
    let fresh = || Ahead { keys: VecDeque::new(), next_read: FEW, behind: behind.clone() };
    let mut ahead: Vec<Ahead<K>> = groups.iter().map(|_| fresh()).collect();
    let mut skipped = 0;
    let mut keys = Vec::new();
    while keys.len() < page.limit as usize {
        for (group, ahead) in groups.iter().zip(&mut ahead) {
            ahead.refill(|behind, max| read(group, behind, max))?;
        }
        let first = ahead.iter_mut().filter(|it| !it.keys.is_empty());
        let first = first.min_by(|one, other| one.keys.front().cmp(&other.keys.front()));
        let Some(key) = first.and_then(|group| group.keys.pop_front()) else { break };
        if skipped < page.offset {
            skipped += 1;
        } else {
            keys.push(key);
        }
    }
    Ok(keys)
}

impl<K: Clone> Ahead<K> {
    fn refill(&mut self, read: impl Fn(&K, u32) -> Result<Vec<K>>) -> Result<()> {
        if !self.keys.is_empty() || self.next_read == 0 {
            return Ok(());
        }
        self.keys = read(&self.behind, self.next_read)?.into();
        let is_full = self.keys.len() >= self.next_read as usize;
        self.next_read = if is_full { (self.next_read * 2).min(MOST) } else { 0 };
        if let Some(last) = self.keys.back() {
            self.behind = last.clone();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Groups of numbers that rise: each number belongs to one of them.
    fn groups(count: u64, numbers: u64) -> Vec<Vec<u64>> {
        let mut random = fastrand::Rng::with_seed(count);
        let mut groups = vec![Vec::new(); usize::try_from(count).unwrap()];
        for number in 0..numbers {
            let to = random.usize(..groups.len());
            groups[to].push(number);
        }
        groups
    }

    fn page(groups: &[Vec<u64>], behind: u64, limit: u32, offset: u32) -> (Vec<u64>, usize) {
        let rows = Cell::new(0);
        let read = |group: &Vec<u64>, behind: &u64, max: u32| {
            let found = group.iter().copied().filter(|it| it > behind).take(max as usize);
            let found: Vec<u64> = found.collect();
            rows.set(rows.get() + found.len());
            Ok(found)
        };
        let keys = merged(groups, &behind, PageRequest { limit, offset }, read).unwrap();
        (keys, rows.get())
    }

    #[test]
    fn a_page_is_the_part_of_all_in_order() {
        for count in 1..8 {
            let groups = groups(count, 2000);
            for (behind, limit, offset) in
                [(0, 50, 0), (1, 1, 0), (900, 500, 0), (3, 7, 1100), (1990, 50, 0), (0, 50, 3000)]
            {
                let expected: Vec<u64> =
                    (behind + 1..2000).skip(offset as usize).take(limit as usize).collect();
                assert_eq!(page(&groups, behind, limit, offset).0, expected, "{count} groups");
            }
        }
        assert_eq!(page(&[], 0, 50, 0).0, [0; 0]);
    }

    #[test]
    fn a_page_reads_little_more_than_it_shows() {
        let groups = groups(7, 1_000_000);
        let (keys, rows) = page(&groups, 500_000, 50, 0);
        assert_eq!(keys.len(), 50);
        assert!(rows <= 7 * 32, "{rows} rows");
    }
}
