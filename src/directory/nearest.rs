//! Where a ZIP code lies, and which of a target's offices is nearest to it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Directory, Office, Point, Target};
use crate::units::Zip;

/// An office at home and how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfficeDistance<'a> {
    pub office: &'a Office,
    /// None where the place of the office or of the ZIP code is not known.
    pub kilometres: Option<f64>,
}

impl Directory {
    /// The middle of a ZIP code; for one without residents that of the next one by number with the same first three
    /// digits, which is mostly the same town.
    pub fn point(&self, zip: Zip) -> Option<Point> {
        let own = self.zips.entry(zip);
        if let Some(point) = own.and_then(|entry| entry.point) {
            return Some(point);
        }
        let number = |zip: Zip| zip.as_str().parse::<i32>().unwrap_or_default();
        let neighbours = self
            .zips
            .entries_of_prefix(zip)
            .iter()
            .filter(|entry| entry.point.is_some() && own.is_none_or(|own| own.state == entry.state));
        neighbours
            .min_by_key(|entry| (number(entry.zip) - number(zip)).abs())
            .and_then(|entry| entry.point)
    }

    /// A target's offices at home, the nearest to the ZIP code first; those whose place is not known come last, the
    /// ones in the caller's state before the others.
    pub fn nearest_offices<'a>(&self, target: &'a Target, zip: Zip) -> Vec<OfficeDistance<'a>> {
        let place = self.point(zip);
        let state = self.zips.entry(zip).map(|entry| entry.state);
        let mut offices: Vec<_> = target
            .district_offices()
            .map(|office| OfficeDistance {
                office,
                kilometres: place
                    .zip(office.point)
                    .map(|(place, point)| place.kilometres_to(point)),
            })
            .collect();
        offices.sort_by(|a, b| {
            let far = |entry: &OfficeDistance<'_>| entry.kilometres.unwrap_or(f64::MAX);
            let elsewhere =
                |entry: &OfficeDistance<'_>| state.is_some_and(|state| state != entry.office.state);
            far(a).total_cmp(&far(b)).then(elsewhere(a).cmp(&elsewhere(b)))
        });
        offices
    }

    /// The nearest office at home that has a number, is open, and stays open for longer than `margin`.
    pub fn nearest_open_office<'a>(
        &self,
        target: &'a Target,
        zip: Zip,
        at: Timestamp,
        margin: Duration,
    ) -> Option<&'a Office> {
        let offices = self
            .nearest_offices(target, zip)
            .into_iter()
            .map(|entry| entry.office);
        let mut dialled = offices.filter(|office| office.phone.is_some());
        dialled.find(|office| self.open_state_before_closing(office, at, margin).is_open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::PRE_CLOSE_MARGIN;

    #[test]
    fn nearest_office_of_a_senator_is_in_the_callers_city() {
        let directory = Directory::bundled().unwrap();
        let padilla = directory.senators("CA".parse().unwrap()).next().unwrap();
        let nearest = |zip: &str| {
            directory.nearest_offices(padilla, zip.parse().unwrap())[0]
                .office
                .city
                .clone()
        };
        assert_eq!(nearest("94110"), "San Francisco");
        assert_eq!(nearest("92101"), "San Diego");
        assert_eq!(nearest("93650"), "Fresno");
    }

    #[test]
    fn zip_code_without_residents_lies_where_its_neighbours_do() {
        let directory = Directory::bundled().unwrap();
        let point = directory.point("12345".parse().unwrap()).unwrap(); // one building in Schenectady
        assert!(point.kilometres_to(Point::new(42.81, -73.94).unwrap()) < 10.0);
        assert_eq!(directory.point("00001".parse().unwrap()), None);
        assert_eq!(directory.point("09012".parse().unwrap()), None);
    }

    #[test]
    fn closed_offices_and_those_about_to_close_are_passed_over() {
        let directory = Directory::bundled().unwrap();
        let padilla = directory.senators("CA".parse().unwrap()).next().unwrap();
        let open = |at: &str| {
            let zip = "94110".parse().unwrap();
            let office = directory.nearest_open_office(padilla, zip, at.parse().unwrap(), PRE_CLOSE_MARGIN);
            office.map(|office| office.city.as_str())
        };
        assert_eq!(open("2026-06-15T16:49:00-07:00"), Some("San Francisco"));
        assert_eq!(open("2026-06-15T16:50:00-07:00"), None);
        assert_eq!(open("2026-06-19T12:00:00-07:00"), None); // Juneteenth
        assert_eq!(open("2026-06-20T12:00:00-07:00"), None); // Saturday
    }
}
