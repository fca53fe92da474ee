use super::*;

fn tone(rate: u32, seconds: f64, hertz: f64) -> Vec<i16> {
    let count = (f64::from(rate) * seconds) as usize;
    let sample = |at: usize| (at as f64 * hertz * std::f64::consts::TAU / f64::from(rate)).sin() * 8000.0;
    (0..count).map(|at| sample(at) as i16).collect()
}

fn stereo_wav(left: &[i16], right: &[i16], rate: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let format = hound::WavSpec {
        channels: 2,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, format).unwrap();
    for (left, right) in left.iter().zip(right) {
        writer.write_sample(*left).unwrap();
        writer.write_sample(*right).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn what_is_written_as_wav_is_read_back() {
    let samples = tone(8000, 0.25, 440.0);
    let sound = decode(&encode_wav(&samples, 8000).unwrap()).unwrap();
    assert_eq!((sound.rate(), sound.samples().len()), (8000, 2000));
    let back = sound.telephone();
    assert!(
        back.iter()
            .zip(&samples)
            .all(|(got, sent)| got.abs_diff(*sent) <= 1)
    );
}

#[test]
fn stereo_becomes_the_mean_of_both_sides() {
    let (left, right) = (vec![8000; 4410], vec![-4000; 4410]);
    let sound = decode(&stereo_wav(&left, &right, 44_100)).unwrap();
    assert_eq!(sound.samples().len(), 4410);
    assert!((sound.samples()[100] - 2000.0 / 32_768.0).abs() < 1e-4);
    assert_eq!(sound.telephone().len(), 800);
}

#[test]
fn floating_point_file_with_impossible_samples_is_tamed() {
    let mut bytes = Cursor::new(Vec::new());
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, format).unwrap();
    for sample in [0.5, f32::NAN, f32::INFINITY, -7.0, 0.25] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(
        decode(&bytes.into_inner()).unwrap().samples(),
        [0.5, 0.0, 0.0, -1.0, 0.25]
    );
}

#[test]
fn mu_law_wav_as_telephone_systems_write_it_is_read() {
    let mut bytes =
        b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0data".to_vec();
    bytes.extend(800u32.to_le_bytes());
    bytes.extend([0x80; 800]);
    let riff = u32::try_from(bytes.len() - 8).unwrap().to_le_bytes();
    bytes[4..8].copy_from_slice(&riff);
    let sound = decode(&bytes).unwrap();
    assert_eq!((sound.rate(), sound.samples().len()), (8000, 800));
    assert!(
        (sound.samples()[10] - 32_124.0 / 32_768.0).abs() < 1e-3,
        "0x80 is the loudest positive value"
    );
}

#[test]
fn what_is_no_audio_is_refused_with_the_reason() {
    assert!(matches!(decode(&[]), Err(AudioError::Empty)));
    assert!(matches!(decode(&[0; 4096]), Err(AudioError::UnknownFormat)));
    assert!(matches!(
        decode(b"%PDF-1.7 and so on, not audio at all"),
        Err(AudioError::UnknownFormat)
    ));
    let error = decode(&encode_wav(&[], 8000).unwrap()).unwrap_err();
    assert!(matches!(error, AudioError::Damaged(_)), "{error}");
}

#[test]
fn cut_and_damaged_files_never_panic_and_keep_what_can_be_heard() {
    let whole = encode_wav(&tone(16_000, 0.5, 700.0), 16_000).unwrap();
    for length in 0..200 {
        let _ = decode(&whole[..length]);
    }
    assert!(decode(&whole[..whole.len() / 2]).unwrap().samples().len() > 3000);
    let mut seed = 0x2545_f491_u32;
    for _ in 0..300 {
        let mut damaged = whole.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = seed as usize % 64;
            damaged[at] = (seed >> 24) as u8;
        }
        if let Ok(sound) = decode(&damaged) {
            assert!(sound.duration() <= MAX_DURATION);
        }
    }
}

#[test]
fn file_of_more_than_the_limit_is_not_looked_at() {
    assert!(matches!(
        decode(&vec![0; MAX_BYTES + 1]),
        Err(AudioError::TooLarge { .. })
    ));
}

#[test]
fn normalised_recording_has_the_level_of_prompts() {
    let mut samples = vec![0; 8000];
    samples.extend(tone(16_000, 1.0, 500.0).iter().map(|sample| sample / 10));
    samples.extend(vec![0; 12_000]);
    let sound = decode(&encode_wav(&samples, 16_000).unwrap())
        .unwrap()
        .normalised()
        .unwrap();
    let linear = sound.telephone();
    let level = level(&linear, TELEPHONE_RATE);
    assert!((-20.0..=-16.0).contains(&level.rms_dbfs), "{level:?}");
    assert!(level.leading_silence < Duration::from_millis(100), "{level:?}");
    assert!(sound.duration() < Duration::from_millis(1200));
}

#[test]
fn silent_recording_is_refused_for_prompts() {
    let sound = decode(&encode_wav(&[0; 8000], 8000).unwrap()).unwrap();
    assert!(matches!(sound.normalised(), Err(AudioError::Silent)));
}

const FORMATS: [(&str, &[u8]); 3] = [
    ("MP3", include_bytes!("testdata/tone-stereo-44100.mp3")),
    ("FLAC", include_bytes!("testdata/tone-stereo-48000.flac")),
    ("Ogg Vorbis", include_bytes!("testdata/tone-mono-22050.ogg")),
];

#[test]
fn mp3_flac_and_ogg_give_the_same_tone_on_the_telephone() {
    for (format, bytes) in FORMATS {
        let samples = decode(bytes).unwrap().telephone();
        assert!(
            samples.len().abs_diff(4000) <= 100,
            "{format}: {} samples",
            samples.len()
        );
        let middle = &samples[1000..3000];
        let crossings = middle
            .windows(2)
            .filter(|pair| (pair[0] < 0) != (pair[1] < 0))
            .count();
        assert!(
            crossings.abs_diff(500) <= 2,
            "{format}: {crossings} crossings of a 1000 Hz tone in a quarter second"
        );
        let level = rms_dbfs(middle);
        assert!((-16.0..=-14.0).contains(&level), "{format}: {level}");
    }
}

#[test]
fn damaged_files_of_every_format_never_panic() {
    let mut seed = 0x1234_5678_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize
    };
    for (_, bytes) in FORMATS {
        for round in 0..120 {
            let mut damaged = bytes.to_vec();
            for _ in 0..=round % 8 {
                let at = if round % 2 == 0 {
                    random() % damaged.len()
                } else {
                    random() % 300
                };
                damaged[at] = random() as u8;
            }
            if round % 5 == 0 {
                damaged.truncate(random() % damaged.len());
            }
            let _ = decode(&damaged);
        }
    }
}
