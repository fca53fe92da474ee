//! The order in which the hosts of SRV records are tried (RFC 2782).

/// Most records of one answer that are used, best first.
const MOST_RECORDS: usize = 16;

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub host: String,
}

/// Orders records: the lowest priority first; among equal ones by chance, in proportion to their weights, those of
/// weight 0 last but for a small chance. `draw` gives a random number from 0 to its argument, both included. Records
/// beyond the sixteenth are left out.
pub fn ordered(mut records: Vec<Record>, draw: &mut dyn FnMut(u32) -> u32) -> Vec<Record> {
    // The small chance of weight 0 comes from standing first (RFC 2782, "Weight").
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut left = records.as_slice();
    let mut order = Vec::with_capacity(records.len().min(MOST_RECORDS));
    while let Some(first) = left.first() {
        let count = left.partition_point(|record| record.priority == first.priority);
        let (equal, rest) = left.split_at(count);
        left = rest;
        let mut equal: Vec<&Record> = equal.iter().collect();
        while !equal.is_empty() && order.len() < MOST_RECORDS {
            let chosen = choose(&equal, draw);
            order.push(equal.remove(chosen).clone());
        }
    }
    order
}

/// The first record whose running sum of weights reaches the number drawn.
fn choose(equal: &[&Record], draw: &mut dyn FnMut(u32) -> u32) -> usize {
    let sum = equal.iter().map(|record| u32::from(record.weight)).sum();
    let drawn = draw(sum).min(sum);
    let mut running = 0;
    let reached = equal.iter().position(|record| {
        running += u32::from(record.weight);
        running >= drawn
    });
    reached.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_core::{RngCore, SeedableRng};

    use super::*;

    fn record(priority: u16, weight: u16, host: &str) -> Record {
        Record {
            priority,
            weight,
            port: 5060,
            host: host.to_owned(),
        }
    }

    fn hosts(records: &[Record]) -> Vec<&str> {
        records.iter().map(|record| record.host.as_str()).collect()
    }

    #[test]
    fn the_lowest_priority_comes_first_whatever_its_weight() {
        let records = vec![record(20, 900, "c"), record(10, 1, "b"), record(0, 0, "a")];
        let order = ordered(records, &mut |sum| sum);
        assert_eq!(hosts(&order), ["a", "b", "c"]);
    }

    #[test]
    fn equal_priorities_are_chosen_by_the_running_sum_of_their_weights() {
        let records = vec![record(1, 10, "a"), record(1, 30, "b"), record(1, 0, "z")];
        // z stands first: 0 chooses it, 1 to 10 choose a, 11 to 40 choose b.
        for (drawn, first) in [(0, "z"), (1, "a"), (10, "a"), (11, "b"), (40, "b")] {
            let mut draws = [drawn, 0, 0].into_iter();
            let order = ordered(records.clone(), &mut |_| draws.next().unwrap());
            assert_eq!(hosts(&order)[0], first, "{drawn}");
            assert_eq!(order.len(), 3);
        }
    }

    #[test]
    fn over_many_draws_hosts_come_first_in_proportion_to_their_weights() {
        let mut random = ChaCha12Rng::seed_from_u64(1);
        let mut draw = |sum: u32| random.next_u32() % (sum + 1);
        let mut first = [0u32; 3];
        for _ in 0..10_000 {
            let records = vec![record(1, 60, "0"), record(1, 30, "1"), record(1, 10, "2")];
            first[ordered(records, &mut draw)[0].host.parse::<usize>().unwrap()] += 1;
        }
        for (count, share) in first.into_iter().zip([6000u32, 3000, 1000]) {
            assert!(count.abs_diff(share) < 300, "{first:?}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_after_its_best_sixteen() {
        let records: Vec<Record> = (0..1000).rev().map(|n| record(n, 1, &n.to_string())).collect();
        let order = ordered(records, &mut |_| 0);
        assert_eq!(order.len(), 16);
        assert_eq!((order[0].priority, order[15].priority), (0, 15));
    }
}
