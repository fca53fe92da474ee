//! SIPp scenarios written as a list of steps, for the races: what a test does stands in the test.

use std::fmt::Write;

/// The offer of a telephone with PCMU and keys. `[version]` is written by `body`.
const SDP: &str = "v=0\no=sipp 53655765 VERSION IN IP[local_ip_type] [local_ip]\ns=-\n\
    c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\n\
    a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15";

/// A body of version `version` in which the sound goes as `direction` says.
pub fn body(version: u32, direction: &str) -> String {
    format!("{}\na={direction}", SDP.replace("VERSION", &version.to_string()))
}

/// The body of a first offer or answer.
pub fn sound() -> String {
    body(1, "sendrecv")
}

/// A scenario in the making. The caller's side begins with `invite`, the office's with `take_invite`.
#[derive(Clone)]
pub struct Script {
    steps: Vec<String>,
    is_office: bool,
    cseq: u32,
    /// Which step sent the last INVITE, its CSeq, and whether a dialog stood already.
    invite: (usize, u32, bool),
    dialog: bool,
    /// What follows the tag that the office gives, and whether it gives one.
    branch: &'static str,
    tagged: bool,
}

/// What a request belongs to.
#[derive(Clone, Copy)]
enum Inside {
    Dialog,
    /// The transaction of a first INVITE that was refused.
    Refused,
    Nothing,
}

/// Values that a scenario keeps: CSeq, To and From of the first INVITE that an office takes.
const KEPT: [(&str, &str, &str); 3] = [
    ("invitecseq", "CSeq:", "[0-9]+ INVITE"),
    ("inviteto", "To:", "[^\\r\\n]*"),
    ("invitefrom", "From:", "[^\\r\\n]*"),
];

/// And the lines that must come back in every response: every Via, and every Record-Route, which proxies put before.
const TOP: &str = "(Record-Route: [^\\r\\n]*\\r\\n)*Via: SIP[^\\r\\n]*(\\r\\nVia: SIP[^\\r\\n]*)*";

impl Script {
    pub fn caller() -> Script {
        Script {
            steps: Vec::new(),
            is_office: false,
            cseq: 0,
            invite: (0, 0, false),
            dialog: false,
            branch: "",
            tagged: true,
        }
    }

    pub fn office() -> Script {
        Script {
            is_office: true,
            dialog: true,
            ..Script::caller()
        }
    }

    /// The scenario as SIPp reads it.
    pub fn text(&self) -> String {
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<scenario name=\"race\">\n".to_owned();
        for step in &self.steps {
            text.push_str(step);
        }
        if self.is_office {
            text.push_str("<Reference variables=\"invitecseq,inviteto,invitefrom,invitetop\"/>\n");
        }
        if text.contains("\"seen\"") {
            text.push_str("<Reference variables=\"seen\"/>\n");
        }
        text.push_str("</scenario>\n");
        text
    }

    fn step(mut self, step: String) -> Script {
        self.steps.push(step);
        self
    }

    fn send(self, head: &str, lines: &str, body: &str, again: bool) -> Script {
        let again = if again { " retrans=\"500\"" } else { "" };
        let mut text = format!("<send{again}><![CDATA[\n{head}\n{lines}");
        if body.is_empty() {
            text.push_str("Content-Length: 0\n\n");
        } else {
            let _ = write!(
                text,
                "Content-Type: application/sdp\nContent-Length: [len]\n\n{body}\n"
            );
        }
        text.push_str("]]></send>\n");
        self.step(text)
    }

    /// Sends a request, inside the dialog or as if there were none.
    fn request(
        self,
        method: &str,
        cseq: u32,
        branch: &str,
        inside: Inside,
        (extra, body): (&str, &str),
    ) -> Script {
        let uri = match inside {
            Inside::Dialog => "[next_url]",
            Inside::Refused | Inside::Nothing => "sip:[service]@[remote_ip]:[remote_port]",
        };
        let tag = match inside {
            Inside::Dialog | Inside::Refused => "[peer_tag_param]",
            Inside::Nothing => "",
        };
        let parties = if self.is_office {
            let branch = self.branch;
            format!("From: [$inviteto];tag=[pid]Office[call_number]{branch}\nTo: [$invitefrom]\n")
        } else {
            format!(
                "From: <sip:4155550123@[local_ip]:[local_port]>;tag=[pid]SIPp[call_number]\n\
                 To: <sip:[service]@[remote_ip]:[remote_port]>{tag}\n"
            )
        };
        let lines = format!(
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n{parties}Call-ID: [call_id]\n\
             CSeq: {cseq} {method}\n[routes]\n\
             Contact: <sip:4155550123@[local_ip]:[local_port];transport=[transport]>\nMax-Forwards: 70\n{extra}"
        );
        let again = method != "ACK";
        self.send(&format!("{method} {uri} SIP/2.0"), &lines, body, again)
    }

    /// A new request of its own transaction. Inside the dialog once there is one.
    pub fn new_request(mut self, method: &str, extra: &str, body: &str) -> Script {
        self.cseq += 1;
        if method == "INVITE" {
            self.invite = (self.steps.len(), self.cseq, self.dialog);
        }
        let inside = if self.dialog {
            Inside::Dialog
        } else {
            Inside::Nothing
        };
        let cseq = self.cseq;
        self.request(method, cseq, "[branch]", inside, (extra, body))
    }

    /// INVITE with an offer.
    pub fn invite(self) -> Script {
        self.new_request("INVITE", "", &sound())
    }

    /// The last INVITE once more by another branch, as a forking proxy brings it.
    pub fn merge_invite(mut self) -> Script {
        self.invite.0 = self.steps.len();
        let cseq = self.invite.1;
        self.request("INVITE", cseq, "[branch]", Inside::Nothing, ("", &sound()))
    }

    /// CANCEL of the first INVITE.
    pub fn cancel(self) -> Script {
        let (branch, cseq) = (self.branch_of_invite(), self.invite.1);
        self.request("CANCEL", cseq, &branch, Inside::Nothing, ("", ""))
    }

    /// ACK of a 2xx to the INVITE with this CSeq.
    pub fn ack_of(self, cseq: u32) -> Script {
        self.request("ACK", cseq, "[branch]", Inside::Dialog, ("", ""))
    }

    /// ACK of a 2xx to the last INVITE.
    pub fn ack(self) -> Script {
        let cseq = self.invite.1;
        self.ack_of(cseq)
    }

    /// ACK of a refusal of the last INVITE.
    pub fn ack_refusal(self) -> Script {
        let (branch, cseq) = (self.branch_of_invite(), self.invite.1);
        let inside = if self.invite.2 {
            Inside::Dialog
        } else {
            Inside::Refused
        };
        self.request("ACK", cseq, &branch, inside, ("", ""))
    }

    pub fn bye(self) -> Script {
        self.new_request("BYE", "", "")
    }

    fn branch_of_invite(&self) -> String {
        format!("[branch-{}]", self.steps.len() - self.invite.0)
    }

    /// Wants this response next.
    pub fn expect(self, status: u16) -> Script {
        self.step(format!("<recv response=\"{status}\"></recv>\n"))
    }

    /// Wants this response to a request of this method next.
    pub fn expect_to(self, status: u16, method: &str) -> Script {
        self.expect_with(status, "CSeq", method)
    }

    /// Wants this response with a header in which `pattern` is found.
    pub fn expect_with(self, status: u16, header: &str, pattern: &str) -> Script {
        self.step(format!(
            "<recv response=\"{status}\"><action><ereg regexp=\"{pattern}\" search_in=\"hdr\" header=\"{header}:\" \
             check_it=\"true\" assign_to=\"seen\"/></action></recv>\n"
        ))
    }

    /// Takes this response too, where it comes.
    pub fn maybe(self, status: u16) -> Script {
        self.step(format!("<recv response=\"{status}\" optional=\"true\"></recv>\n"))
    }

    /// Wants it to ring, in a dialog of its own.
    pub fn rung(mut self) -> Script {
        self = self.maybe(100);
        self.dialog = true;
        self.step("<recv response=\"180\" rrs=\"true\"></recv>\n".to_owned())
    }

    /// Wants it to ring reliably; `[$rseq]` is then the response's number.
    pub fn rung_reliably(mut self) -> Script {
        self = self.maybe(100);
        self.dialog = true;
        self.step(
            "<recv response=\"180\" rrs=\"true\"><action><ereg regexp=\"[0-9]+\" search_in=\"hdr\" \
             header=\"RSeq:\" check_it=\"true\" assign_to=\"rseq\"/></action></recv>\n"
                .to_owned(),
        )
    }

    /// Wants the answer to the INVITE, after whatever provisional responses.
    pub fn answered(mut self) -> Script {
        self = self.maybe(100).maybe(180).maybe(183);
        self.dialog = true;
        self.step("<recv response=\"200\" rrs=\"true\"></recv>\n".to_owned())
    }

    /// Wants the call to be refused, and acknowledges that.
    pub fn refused(self, status: u16) -> Script {
        self.maybe(100).maybe(180).maybe(183).expect(status).ack_refusal()
    }

    /// Wants a request; `pattern` must be found in it.
    pub fn expect_request(self, method: &str, pattern: &str) -> Script {
        if pattern.is_empty() {
            return self.step(format!("<recv request=\"{method}\"></recv>\n"));
        }
        self.step(format!(
            "<recv request=\"{method}\"><action><ereg regexp=\"{pattern}\" search_in=\"msg\" check_it=\"true\" \
             assign_to=\"seen\"/></action></recv>\n"
        ))
    }

    /// Takes the INVITE of a new call.
    pub fn take_invite(self) -> Script {
        let kept = KEPT
            .iter()
            .fold(String::new(), |mut kept, (name, header, pattern)| {
                let _ = writeln!(
                    kept,
                    "<ereg regexp=\"{pattern}\" search_in=\"hdr\" header=\"{header}\" assign_to=\"{name}\"/>"
                );
                kept
            });
        self.step(format!(
            "<recv request=\"INVITE\" rrs=\"true\"><action>\n{kept}\
             <ereg regexp=\"{TOP}\" search_in=\"msg\" assign_to=\"invitetop\"/>\n</action></recv>\n"
        ))
    }

    /// Keeps the INVITE that came last in the place of the first, for `respond_kept`. Must follow its receipt.
    pub fn keep_invite(mut self) -> Script {
        let received = self.steps.pop().unwrap_or_default();
        let kept = "<ereg regexp=\"[0-9]+ INVITE\" search_in=\"hdr\" header=\"CSeq:\" assign_to=\"laterinvitecseq\"/>\n\
             <ereg regexp=\"SIP.*\" search_in=\"hdr\" header=\"Via:\" assign_to=\"laterinvitevia\"/>\n</action>";
        self.steps.push(received.replace("</action>", kept));
        self
    }

    /// Responds to the INVITE that was kept.
    pub fn respond_kept(self, line: &str, extra: &str, body: &str) -> Script {
        let lines = format!(
            "Via: [$laterinvitevia]\nFrom: [$invitefrom]\nTo: [$inviteto];tag=[pid]Office[call_number]\n\
             Call-ID: [call_id]\nCSeq: [$laterinvitecseq]\n\
             Contact: <sip:office@[local_ip]:[local_port];transport=[transport]>\n{extra}"
        );
        self.send(&format!("SIP/2.0 {line}"), &lines, body, true)
    }

    /// Responds to the first INVITE. `line` is status and reason.
    pub fn respond(self, line: &str, extra: &str, body: &str) -> Script {
        let tag = match self.tagged {
            true => format!(";tag=[pid]Office[call_number]{}", self.branch),
            false => String::new(),
        };
        let lines = format!(
            "[$invitetop]\nFrom: [$invitefrom]\nTo: [$inviteto]{tag}\nCall-ID: [call_id]\nCSeq: [$invitecseq]\n\
             Contact: <sip:office@[local_ip]:[local_port];transport=[transport]>\n{extra}"
        );
        let is_final = !line.starts_with('1');
        self.send(&format!("SIP/2.0 {line}"), &lines, body, is_final)
    }

    pub fn rings(self) -> Script {
        self.respond("180 Ringing", "", "")
    }

    pub fn answers(self) -> Script {
        self.respond("200 OK", "", &sound())
    }

    /// From here on the office is another branch of a fork: its tag differs.
    pub fn forks_as(mut self, branch: &'static str) -> Script {
        self.branch = branch;
        self
    }

    /// From here on the office leaves its tag out.
    pub fn without_tag(mut self) -> Script {
        self.tagged = false;
        self
    }

    /// Responds to the request that came last.
    pub fn reply(self, line: &str, extra: &str, body: &str) -> Script {
        let lines = format!(
            "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
             Contact: <sip:4155550123@[local_ip]:[local_port];transport=[transport]>\n{extra}"
        );
        let is_final_invite = !body.is_empty();
        self.send(&format!("SIP/2.0 {line}"), &lines, body, is_final_invite)
    }

    pub fn reply_ok(self) -> Script {
        self.reply("200 OK", "", "")
    }

    /// Plays a file of PCMU samples, in the scenario's folder, over and over.
    pub fn plays(self, file: &str) -> Script {
        self.step(format!(
            "<nop><action><exec rtp_stream=\"{file},-1,0\"/></action></nop>\n"
        ))
    }

    pub fn pause(self, milliseconds: u32) -> Script {
        self.step(format!("<pause milliseconds=\"{milliseconds}\"/>\n"))
    }
}
