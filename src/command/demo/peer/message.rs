//! SIP messages of the other side, built and read with rsip.

use std::net::SocketAddr;

use rsip::headers::UntypedHeader;
use rsip::prelude::*;
use rsip::{Header, Headers, Method, Request, Response, StatusCode, Uri, Version, headers};

/// The parts of a request that differ from one to the next.
#[derive(Debug)]
pub struct Outline<'a> {
    pub method: Method,
    pub uri: &'a str,
    /// Our own address, for Via.
    pub local: SocketAddr,
    pub branch: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub routes: &'a [String],
    pub contact: Option<&'a str>,
    pub extra: &'a [(String, String)],
    pub sdp: Option<&'a str>,
}

/// Builds a request.
///
/// # Errors
/// When rsip cannot read `uri`: it knows neither `tel:` nor IPv6.
pub fn request(outline: &Outline<'_>) -> Result<Request, rsip::Error> {
    let via = format!("SIP/2.0/UDP {};rport;branch={}", outline.local, outline.branch);
    let mut headers = Headers::default();
    headers.push(headers::Via::new(via).into());
    headers.push(headers::MaxForwards::new("70").into());
    for route in outline.routes {
        headers.push(headers::Route::new(route).into());
    }
    headers.push(headers::From::new(outline.from).into());
    headers.push(headers::To::new(outline.to).into());
    headers.push(headers::CallId::new(outline.call_id).into());
    headers.push(headers::CSeq::new(format!("{} {}", outline.cseq, outline.method)).into());
    if let Some(contact) = outline.contact {
        headers.push(headers::Contact::new(contact).into());
    }
    headers.push(headers::UserAgent::new("simulated trunk").into());
    headers.push(headers::Allow::new("INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE").into());
    for (name, value) in outline.extra {
        headers.push(Header::Other(name.clone(), value.clone()));
    }
    let body = put_body(&mut headers, outline.sdp);
    let uri = Uri::try_from(outline.uri)?;
    Ok(Request {
        method: outline.method,
        uri,
        version: Version::V2,
        headers,
        body,
    })
}

/// Builds the response to a request that came from `source`, with our tag and any further headers.
pub fn response(request: &Request, source: SocketAddr, status: (u16, &str), tag: &str) -> Response {
    let mut headers = Headers::default();
    let mut top = true;
    for header in request.headers.iter() {
        match header {
            Header::Via(via) if top => {
                top = false;
                headers.push(headers::Via::new(answered_via(via.value(), source)).into());
            }
            Header::To(to) if status.0 > 100 && !has_tag(to.value()) => {
                headers.push(headers::To::new(format!("{};tag={tag}", to.value())).into());
            }
            Header::Via(_)
            | Header::From(_)
            | Header::To(_)
            | Header::CallId(_)
            | Header::CSeq(_)
            | Header::RecordRoute(_) => headers.push(header.clone()),
            _ => {}
        }
    }
    // `Other` keeps the phrase: rsip prints its own names without spaces.
    let status_code = StatusCode::Other(status.0, status.1.to_owned());
    Response {
        status_code,
        version: Version::V2,
        headers,
        body: Vec::new(),
    }
}

/// Fills in where the request came from (RFC 3581 §4).
fn answered_via(via: &str, source: SocketAddr) -> String {
    let asks = via.split(';').any(|parameter| parameter.trim() == "rport");
    if asks {
        via.replacen(
            ";rport",
            &format!(";rport={};received={}", source.port(), source.ip()),
            1,
        )
    } else {
        via.to_owned()
    }
}

/// Adds headers, then the body with its length, to a response.
pub fn complete(mut response: Response, extra: &[(&str, &str)], sdp: Option<&str>) -> Response {
    for (name, value) in extra {
        response
            .headers
            .push(Header::Other((*name).to_owned(), (*value).to_owned()));
    }
    response.body = put_body(&mut response.headers, sdp);
    response
}

fn put_body(headers: &mut Headers, sdp: Option<&str>) -> Vec<u8> {
    let body = sdp.unwrap_or_default().as_bytes().to_vec();
    if !body.is_empty() {
        headers.push(headers::ContentType::new("application/sdp").into());
    }
    headers.push(headers::ContentLength::new(body.len().to_string()).into());
    body
}

/// The values of a header, in order; the name is matched without regard to case.
pub fn fields(headers: &Headers, name: &str) -> Vec<String> {
    headers
        .iter()
        .filter_map(|header| {
            let line = header.to_string();
            let (found, value) = line.split_once(':')?;
            found
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
        .collect()
}

/// The first value of a header.
pub fn field(headers: &Headers, name: &str) -> Option<String> {
    fields(headers, name).into_iter().next()
}

/// The branch of the top Via, which names the transaction (RFC 3261 §8.1.1.7).
pub fn branch(message: &impl HeadersExt) -> Option<String> {
    let via = message.via_header().ok()?.typed().ok()?;
    via.branch().map(|branch| branch.value().to_owned())
}

/// Whether a From or To value carries a tag.
pub fn has_tag(value: &str) -> bool {
    headers::To::new(value).tag().ok().flatten().is_some()
}

/// The user part of the URI in a From, To or Contact value.
pub fn user(value: &str) -> Option<String> {
    let uri = headers::Contact::new(value).uri().ok()?;
    uri.user().map(str::to_owned)
}

/// The URI in a Contact value and the address it stands for.
pub fn target(contact: &str) -> Option<(String, SocketAddr)> {
    let uri = headers::Contact::new(contact).uri().ok()?;
    let address = address(&uri)?;
    Some((uri.to_string(), address))
}

/// The address of a URI with a literal host.
pub fn address(uri: &Uri) -> Option<SocketAddr> {
    let ip = uri.host().to_string().parse().ok()?;
    let port = uri.port().map_or(5060, |port| *port.value());
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline<'a>(extra: &'a [(String, String)]) -> Outline<'a> {
        Outline {
            method: Method::Invite,
            uri: "sip:2025550100@127.0.0.1:5060",
            local: "127.0.0.2:5060".parse().unwrap(),
            branch: "z9hG4bKabc",
            from: "\"A caller\" <sip:4155550123@127.0.0.2>;tag=one",
            to: "<sip:2025550100@127.0.0.1>",
            call_id: "call@127.0.0.2",
            cseq: 7,
            routes: &[],
            contact: Some("<sip:4155550123@127.0.0.2:5060>"),
            extra,
            sdp: Some("v=0\r\n"),
        }
    }

    #[test]
    fn request_reads_back_as_it_was_written() {
        let extra = [(
            "P-Asserted-Identity".to_owned(),
            "<sip:+14155550123@127.0.0.2>".to_owned(),
        )];
        let bytes = request(&outline(&extra)).unwrap().to_string();
        let read = Request::try_from(bytes.as_bytes()).unwrap();
        assert_eq!(branch(&read).as_deref(), Some("z9hG4bKabc"));
        assert_eq!(field(&read.headers, "cseq").as_deref(), Some("7 INVITE"));
        assert_eq!(
            field(&read.headers, "p-asserted-identity"),
            Some(extra[0].1.clone())
        );
        assert_eq!(field(&read.headers, "Content-Length").as_deref(), Some("5"));
        assert_eq!(read.body, b"v=0\r\n");
    }

    #[test]
    fn response_keeps_the_phrase_and_tells_where_the_request_came_from() {
        let request = request(&outline(&[])).unwrap();
        let source = "127.0.0.9:6000".parse().unwrap();
        let text = complete(response(&request, source, (486, "Busy Here"), "two"), &[], None).to_string();
        assert!(text.starts_with("SIP/2.0 486 Busy Here\r\n"), "{text}");
        assert!(
            text.contains(";rport=6000;received=127.0.0.9;branch=z9hG4bKabc\r\n"),
            "{text}"
        );
        assert!(
            text.contains("To: <sip:2025550100@127.0.0.1>;tag=two\r\n"),
            "{text}"
        );
    }

    #[test]
    fn contact_gives_uri_and_address() {
        let (uri, address) = target("<sip:line;x=y@127.0.0.3:5070>;expires=60").unwrap();
        assert_eq!(
            (uri.contains("127.0.0.3:5070"), address.to_string().as_str()),
            (true, "127.0.0.3:5070")
        );
        assert_eq!(
            user("<sip:2025550100@127.0.0.1>;tag=x").as_deref(),
            Some("2025550100")
        );
    }
}
