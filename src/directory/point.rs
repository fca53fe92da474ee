//! A place on Earth.

use serde::{Deserialize, Serialize};

/// Latitude and longitude in degrees, WGS 84.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    latitude: f32,
    longitude: f32,
}

impl Point {
    /// None when a coordinate is out of range or not a number.
    pub fn new(latitude: f32, longitude: f32) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        valid.then_some(Self { latitude, longitude })
    }

    pub fn latitude(self) -> f32 {
        self.latitude
    }

    pub fn longitude(self) -> f32 {
        self.longitude
    }

    /// Great-circle distance in kilometres, on a sphere of mean radius 6,371 km.
    pub fn kilometres_to(self, other: Point) -> f64 {
        let radians = |degrees: f32| f64::from(degrees).to_radians();
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let half_north = ((to - from) / 2.0).sin();
        let half_east = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        let haversine = half_north * half_north + from.cos() * to.cos() * half_east * half_east;
        2.0 * 6371.0 * haversine.sqrt().min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_from_new_york_to_los_angeles_is_about_3_940_km() {
        let new_york = Point::new(40.71, -74.01).unwrap();
        let los_angeles = Point::new(34.05, -118.24).unwrap();
        assert!((new_york.kilometres_to(los_angeles) - 3936.0).abs() < 10.0);
        assert_eq!(new_york.kilometres_to(new_york), 0.0);
    }

    #[test]
    fn coordinates_out_of_range_are_refused() {
        assert_eq!(Point::new(91.0, 0.0), None);
        assert_eq!(Point::new(0.0, -180.5), None);
        assert_eq!(Point::new(f32::NAN, 0.0), None);
    }

    #[test]
    fn neighbours_across_the_date_line_are_near() {
        let west = Point::new(52.0, 179.9).unwrap();
        let east = Point::new(52.0, -179.9).unwrap();
        assert!(west.kilometres_to(east) < 20.0);
    }
}
