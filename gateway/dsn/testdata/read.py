"""Reads notices as a mail program would and says what is in them: JSON with
base64 in, JSON out."""
import base64, email, email.policy, json, quopri, sys

policy = email.policy.default.clone(refold_source="none", utf8=True)


def decoded(part):
    """The octets of a part; of a message/* one as well, whose encoding RFC 6533 allows."""
    if part.get_content_maintype() != "message":
        return part.get_payload(decode=True)
    inner = b"\r\n".join(p.as_bytes(policy=policy.clone(linesep="\r\n")) for p in part.get_payload())
    if part.get("content-transfer-encoding") == "quoted-printable":
        return quopri.decodestring(inner)
    return inner


def blocks(text):
    """The groups of fields of a delivery status (RFC 3464 2.1)."""
    text = text.replace(b"\r\n", b"\n").strip(b"\n")
    while b"\n\n\n" in text:
        text = text.replace(b"\n\n\n", b"\n\n")
    groups = [email.message_from_bytes(b + b"\n\n", policy=policy) for b in text.split(b"\n\n")]
    assert not any(g.get_payload().strip() for g in groups), "a line that is no field"
    return [[[k, str(v)] for k, v in g.items()] for g in groups]


def read(notice):
    m = email.message_from_bytes(notice, policy=policy)
    parts = list(m.iter_parts())
    return {
        "type": m.get_content_type(),
        "report": m.get_param("report-type") or "",
        "header": [[k, str(v)] for k, v in m.items()],
        "defects": [repr(d) for p in [m] + parts for d in p.defects],
        "parts": [{
            "type": p.get_content_type(),
            "encoding": str(p.get("content-transfer-encoding")),
            "text": decoded(p).decode("utf-8", "backslashreplace"),
        } for p in parts],
        "status": blocks(decoded(parts[1])),
    }


print(json.dumps([read(base64.b64decode(n)) for n in json.load(sys.stdin)]))
