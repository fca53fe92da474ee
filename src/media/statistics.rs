//! What a stream received and sent, as call records and RTCP want it (RFC 3550 §6.4.1, appendix A).

use std::time::{Duration, Instant};

use crate::attention::{is_sampled, sampled_between};
use crate::rtp::{Header, sequence_distance};

/// Totals of one stream, told when it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Packets accepted from the peer.
    pub received: u64,
    /// Packets that came, by the peer's sequence numbers, while only samples were read ([`crate::Attention`]): neither
    /// received nor known to be lost.
    pub unread: u64,
    /// Packets that the peer's sequence numbers promised and that never came. Of the time in which only samples were
    /// read it holds the samples that never came.
    pub lost: u64,
    /// Packets ignored: from strangers, of unknown payload types, or not RTP.
    pub refused: u64,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Packets we sent.
    pub sent: u64,
    /// Frames of 20 ms that were due and not sent because we were late.
    pub skipped: u64,
    /// Share of our packets that the peer said it lost, of 256, if it sent reports.
    pub peer_lost: Option<u8>,
    /// Network round trip by the peer's last report.
    pub round_trip: Option<Duration>,
}

/// Reception from one peer over all its SSRCs.
#[derive(Debug, Clone, Default)]
pub struct Reception {
    run: Option<Run>,
    /// Totals of SSRCs that ended.
    earlier_received: u64,
    earlier_unread: u32,
    earlier_lost: u64,
    /// Only samples are read now.
    sampled: bool,
    /// Only samples were read when the last packet came, so that what is missing after it was perhaps only not read.
    was_sampled: bool,
}

/// One SSRC, without restarts.
#[derive(Debug, Clone)]
struct Run {
    ssrc: u32,
    first: u16,
    highest: u16,
    cycles: u32,
    received: u64,
    unread: u32,
    /// Of its audio, in Hz.
    clock_rate: u32,
    /// In 1/16 ticks (RFC 3550 appendix A.8).
    jitter: u32,
    transit: Option<(Instant, u32)>,
    reported_expected: u64,
    reported_received: u64,
}

/// What a report block says of one interval (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceptionReport {
    pub ssrc: u32,
    /// Of 256.
    pub fraction_lost: u8,
    pub lost: u32,
    pub highest: u32,
    /// In ticks.
    pub jitter: u32,
}

/// A jump this far ahead means that the sender started anew.
const MAX_DROPOUT: i16 = 3000;
/// Packets this late still belong to the run.
const MAX_MISORDER: i16 = -100;

impl Reception {
    /// Counts a packet. `clock_rate` is that of its timestamp in Hz; None for packets whose timestamp is not their
    /// sending time (telephone events).
    pub fn count(&mut self, now: Instant, header: &Header, clock_rate: Option<u32>) {
        let distance = self
            .run
            .as_ref()
            .filter(|run| run.ssrc == header.ssrc)
            .map(|run| {
                let distance = sequence_distance(header.sequence, run.highest);
                (MAX_MISORDER..MAX_DROPOUT)
                    .contains(&distance)
                    .then_some(distance)
            });
        match (&mut self.run, distance) {
            (Some(run), Some(Some(distance))) => {
                if self.sampled || self.was_sampled {
                    run.pass_over(header.sequence, distance);
                }
                run.count(now, header, distance, clock_rate);
            }
            _ => self.restart(now, header, clock_rate),
        }
        self.was_sampled = self.sampled;
    }

    /// Packets received so far.
    pub fn received(&self) -> u64 {
        self.earlier_received + self.run.as_ref().map_or(0, |run| run.received)
    }

    /// Takes note that from now on only samples are read, or everything again.
    pub const fn set_sampled(&mut self, sampled: bool) {
        self.was_sampled |= self.sampled;
        self.sampled = sampled;
    }

    /// Packets not read so far.
    pub fn unread(&self) -> u64 {
        u64::from(self.unread_packets())
    }

    fn unread_packets(&self) -> u32 {
        let run = self.run.as_ref().map_or(0, |run| run.unread);
        self.earlier_unread.saturating_add(run)
    }

    /// Packets lost so far.
    pub fn lost(&self) -> u64 {
        self.earlier_lost + self.run.as_ref().map_or(0, Run::lost)
    }

    /// Jitter of the present SSRC.
    pub fn jitter(&self) -> Duration {
        self.run.as_ref().map_or(Duration::ZERO, |run| {
            let ticks = u64::from(run.jitter >> 4);
            Duration::from_micros(ticks * 1_000_000 / u64::from(run.clock_rate.max(1)))
        })
    }

    /// A report of the time since the last one. None before the first packet.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        self.run.as_mut().map(Run::report)
    }

    fn restart(&mut self, now: Instant, header: &Header, clock_rate: Option<u32>) {
        self.earlier_received = self.received();
        self.earlier_unread = self.unread_packets();
        self.earlier_lost = self.lost();
        self.run = Some(Run {
            ssrc: header.ssrc,
            first: header.sequence,
            highest: header.sequence,
            cycles: 0,
            received: 1,
            unread: 0,
            jitter: 0,
            clock_rate: clock_rate.unwrap_or(8000),
            transit: clock_rate.map(|_| (now, header.timestamp)),
            reported_expected: 0,
            reported_received: 0,
        });
    }
}

impl Run {
    /// Counts what is missing before a packet as not read, but for the samples, which would have been.
    fn pass_over(&mut self, sequence: u16, distance: i16) {
        if let Ok(ahead @ 1..) = u16::try_from(distance) {
            self.unread += u32::from(ahead - 1 - sampled_between(self.highest, ahead));
        } else if !is_sampled(sequence) {
            // It was passed over when a later one came first.
            self.unread = self.unread.saturating_sub(1);
        }
    }

    fn count(&mut self, now: Instant, header: &Header, distance: i16, clock_rate: Option<u32>) {
        self.received += 1;
        if distance > 0 {
            self.cycles += u32::from(header.sequence < self.highest);
            self.highest = header.sequence;
        }
        if let Some(clock_rate) = clock_rate {
            if clock_rate != self.clock_rate {
                (self.clock_rate, self.jitter, self.transit) = (clock_rate, 0, None);
            }
            self.measure_jitter(now, header.timestamp);
        }
    }

    fn measure_jitter(&mut self, now: Instant, timestamp: u32) {
        if let Some((before, earlier)) = self.transit.replace((now, timestamp)) {
            let elapsed = now.saturating_duration_since(before).as_micros() as i64
                * i64::from(self.clock_rate)
                / 1_000_000;
            let spoken = i64::from(timestamp.wrapping_sub(earlier) as i32);
            // A jump of the sender's clock says nothing about the network; a second caps it.
            let difference = (elapsed - spoken).unsigned_abs().min(u64::from(self.clock_rate)) as u32;
            self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
        }
    }

    fn extended_highest(&self) -> u32 {
        self.cycles << 16 | u32::from(self.highest)
    }

    /// Packets that should have been read.
    fn expected(&self) -> u64 {
        let span = u64::from(self.extended_highest().wrapping_sub(u32::from(self.first))) + 1;
        span.saturating_sub(u64::from(self.unread))
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn report(&mut self) -> ReceptionReport {
        let (expected, received) = (
            self.expected().saturating_sub(self.reported_expected),
            self.received - self.reported_received,
        );
        (self.reported_expected, self.reported_received) = (self.expected(), self.received);
        let lost = expected.saturating_sub(received);
        ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            lost: self.lost().min(0x7f_ffff) as u32,
            highest: self.extended_highest(),
            jitter: self.jitter >> 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc: 7,
        }
    }

    fn at(start: Instant, packet: u32) -> Instant {
        start + Duration::from_millis(20) * packet
    }

    #[test]
    fn loss_is_counted_across_the_wrap_of_sequence_numbers() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for packet in (0..100).filter(|packet| packet % 10 != 3) {
            reception.count(
                at(start, packet),
                &header(65_500u16.wrapping_add(packet as u16), packet * 160),
                Some(8000),
            );
        }
        assert_eq!((reception.received(), reception.lost()), (90, 10));
        assert_eq!(reception.jitter(), Duration::ZERO);
    }

    #[test]
    fn reordered_packets_are_not_lost() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for packet in [0u16, 2, 1, 4, 3] {
            reception.count(start, &header(packet, u32::from(packet) * 160), Some(8000));
        }
        assert_eq!((reception.received(), reception.lost()), (5, 0));
    }

    #[test]
    fn a_new_ssrc_starts_a_new_run_and_keeps_the_totals() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for sequence in [1, 2, 4] {
            reception.count(start, &header(sequence, 0), None);
        }
        for sequence in [30_000, 30_002] {
            reception.count(
                start,
                &Header {
                    ssrc: 8,
                    ..header(sequence, 0)
                },
                None,
            );
        }
        assert_eq!((reception.received(), reception.lost()), (5, 2));
    }

    #[test]
    fn jitter_follows_the_formula_of_the_rfc() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for packet in 0..2000 {
            // Every second packet comes 8 ms late: the difference alternates between ±8 ms, 64 ticks.
            let late = Duration::from_millis(if packet % 2 == 1 { 8 } else { 0 });
            reception.count(
                at(start, packet) + late,
                &header(packet as u16, packet * 160),
                Some(8000),
            );
        }
        let milliseconds = reception.jitter().as_secs_f64() * 1000.0;
        assert!((7.0..=8.0).contains(&milliseconds), "{milliseconds} ms");
    }

    #[test]
    fn packets_that_were_not_read_are_not_lost_and_lost_samples_are() {
        let start = Instant::now();
        let mut reception = Reception::default();
        let hear =
            |reception: &mut Reception, sequences: std::ops::Range<u32>, keep: &dyn Fn(u32) -> bool| {
                for packet in sequences.filter(|packet| keep(*packet)) {
                    let header = header(65_000u16.wrapping_add(packet as u16), packet * 160);
                    reception.count(at(start, packet), &header, Some(8000));
                }
            };
        let sample = |packet: u32| is_sampled(65_000u16.wrapping_add(packet as u16));
        hear(&mut reception, 0..100, &|packet| packet % 10 != 3);
        assert_eq!((reception.received(), reception.lost()), (90, 10));
        reception.set_sampled(true);
        hear(&mut reception, 100..1700, &sample);
        reception.set_sampled(false);
        hear(&mut reception, 1710..1800, &|_| true);
        assert_eq!(reception.received(), 90 + 50 + 90);
        assert_eq!(reception.lost(), 10);
        assert_eq!(reception.unread(), 1710 - 100 - 50);
        assert_eq!(reception.jitter(), Duration::ZERO);
        reception.set_sampled(true);
        hear(&mut reception, 1800..3400, &|packet| {
            sample(packet) && packet % 5 != 0
        });
        reception.set_sampled(false);
        hear(&mut reception, 3400..3450, &|packet| packet != 3425);
        assert_eq!(reception.lost(), 10 + 10 + 1);
        assert_eq!(reception.received() + reception.unread() + reception.lost(), 3450);
    }

    #[test]
    fn a_key_packet_that_comes_late_among_unread_audio_is_counted_once() {
        let start = Instant::now();
        let mut reception = Reception::default();
        reception.count(start, &header(1, 0), Some(8000));
        reception.set_sampled(true);
        for sequence in [10, 12, 11, 15] {
            reception.count(start, &header(sequence, 0), None);
        }
        assert_eq!(
            (reception.received(), reception.unread(), reception.lost()),
            (5, 10, 0)
        );
    }

    #[test]
    fn each_report_covers_the_time_since_the_last_one() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for sequence in 0..100 {
            reception.count(start, &header(sequence, 0), None);
        }
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
        for sequence in (100..200).filter(|sequence| sequence % 2 == 1) {
            reception.count(start, &header(sequence, 0), None);
        }
        let report = reception.report().unwrap();
        assert_eq!(
            (report.fraction_lost, report.lost, report.highest),
            (128, 50, 199)
        );
    }
}
