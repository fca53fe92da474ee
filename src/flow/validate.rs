//! What can be wrong with a flow before it runs.

use std::collections::BTreeSet;

use super::definition::{Flow, Step};

/// Every problem of a flow: missing steps, steps nobody reaches, values out of range.
pub fn problems(flow: &Flow) -> Vec<String> {
    let mut problems = Vec::new();
    if !flow.steps.contains_key(&flow.start) {
        problems.push(format!("start: there is no step {:?}", flow.start));
    }
    for (name, step) in &flow.steps {
        for next in step.nexts() {
            if !flow.steps.contains_key(next) {
                problems.push(format!("step {name}: there is no step {next:?} to go on to"));
            }
        }
        problems.extend(
            step.range_problems()
                .into_iter()
                .map(|problem| format!("step {name}: {problem}")),
        );
    }
    let reached = reachable(flow);
    for name in flow.steps.keys().filter(|name| !reached.contains(name.as_str())) {
        problems.push(format!("step {name}: no other step leads to it"));
    }
    problems
}

fn reachable(flow: &Flow) -> BTreeSet<&str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![flow.start.as_str()];
    while let Some(name) = open.pop() {
        let Some((name, step)) = flow.steps.get_key_value(name) else {
            continue;
        };
        if reached.insert(name.as_str()) {
            open.extend(step.nexts());
        }
    }
    reached
}

impl Step {
    /// The steps that may follow.
    pub fn nexts(&self) -> Vec<&str> {
        match self {
            Self::Play(step) if step.repeat => vec![],
            Self::Play(step) => vec![&step.next],
            Self::Language(step) => vec![&step.next],
            Self::Zip(step) => vec![&step.next, &step.exhausted],
            Self::Whom(step) => vec![&step.again, &step.next, &step.nobody, &step.exhausted],
            Self::CallTargets(step) => vec![&step.next],
            Self::Gather(step) => vec![&step.next, &step.otherwise],
            Self::Dial(step) => step.next.iter().map(String::as_str).collect(),
            Self::Wait(step) => step.next.iter().map(String::as_str).collect(),
            Self::Echo(_) | Self::Hangup(_) => vec![],
        }
    }

    /// The prompts that the step names.
    pub fn prompts(&self) -> Vec<&str> {
        match self {
            Self::Play(step) => step.prompts.iter().map(String::as_str).collect(),
            Self::Language(step) => vec![&step.prompt],
            Self::Zip(step) => vec![&step.prompt, &step.prompt_again, &step.help, &step.unparsed],
            Self::Gather(step) => step.prompts.iter().map(String::as_str).collect(),
            _ => vec![],
        }
    }

    fn range_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |key: &str, value: u32, range: std::ops::RangeInclusive<u32>| {
            if !range.contains(&value) {
                problems.push(format!(
                    "{key} = {value} is not {} to {}",
                    range.start(),
                    range.end()
                ));
            }
        };
        match self {
            Self::CallTargets(step) => {
                check("ring_seconds", step.ring_seconds, 5..=120);
                check("talk_seconds", step.talk_seconds, 60..=7200);
                check("auto_seconds", step.auto_seconds, 1..=30);
            }
            Self::Dial(step) => {
                check("ring_seconds", step.ring_seconds, 5..=120);
                check("talk_seconds", step.talk_seconds, 60..=7200);
            }
            Self::Gather(step) => {
                check("digits", u32::from(step.digits), 1..=20);
                check("first_seconds", step.first_seconds, 1..=60);
                check("inter_digit_seconds", step.inter_digit_seconds, 1..=30);
            }
            Self::Zip(step) => {
                check("no_input_retries", u32::from(step.no_input_retries), 0..=5);
                check("invalid_retries", u32::from(step.invalid_retries), 0..=5);
            }
            Self::Wait(step) if step.seconds.is_some() != step.next.is_some() => {
                problems
                    .push("seconds and next go together: give both, or neither to wait for ever".to_owned());
            }
            Self::Play(step) if step.prompts.is_empty() => problems.push("prompts is empty".to_owned()),
            _ => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Flow, FlowError};

    #[test]
    fn bundled_flows_are_valid() {
        for name in ["hotline", "route", "prompt", "hold", "collect", "echo"] {
            let text = Flow::bundled(name).unwrap();
            assert_eq!(Flow::parse(name, text).map(|flow| flow.name), Ok(name.to_owned()));
        }
    }

    #[test]
    fn every_problem_of_a_flow_is_told_at_once() {
        let text = "name = \"x\"\nversion = 1\nstart = \"a\"\n[step.a.play]\nprompts = []\nnext = \"b\"\n[step.c.hangup]\n";
        let Err(FlowError::Invalid { problems }) = Flow::parse("x.toml", text) else {
            panic!("accepted")
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn unknown_key_is_refused_with_its_line() {
        let text = "name = \"x\"\nversion = 1\nstart = \"a\"\n[step.a.hangup]\nreason = 1\n";
        let Err(FlowError::Malformed { message, .. }) = Flow::parse("x.toml", text) else {
            panic!("accepted")
        };
        assert!(
            message.contains("line 5") && message.contains("reason"),
            "{message}"
        );
    }
}
