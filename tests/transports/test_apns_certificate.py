"""A client certificate in place of a signing key: looked at before anything is sent, and shown to a strict server."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import replace

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from campaigns.message import Message
from transports.apns import certificate
from transports.apns.transport import build
from transports.contract import TransportSettings
from transports.errors import CredentialsError, PayloadError

APP = "com.example.news"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
TOPICS = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")
VOIP = x509.ObjectIdentifier("1.2.840.113635.100.6.3.4")


def element(tag, content):
    size = len(content)
    head = bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2)
    return bytes((tag,)) + head + content


def topics_der(**topics):
    """As Apple writes it: a sequence of topics, each followed by a sequence of what may go there."""
    parts = b""
    for topic, words in topics.items():
        parts += element(0x0C, topic.encode())
        parts += element(0x30, b"".join(element(0x0C, word.encode()) for word in words))
    return element(0x30, parts)


USUAL = topics_der(**{APP: ["app"], f"{APP}.voip": ["voip"], f"{APP}.complication": ["complication"]})


class Issuer:
    """An authority like Apple's, that signs push certificates."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Worldwide Developer Relations")])
        self.name = name
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(NOW - 30 * DAY).not_valid_after(NOW + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def issue(self, key, extensions=(), since=NOW - DAY, until=NOW + DAY):
        subject = x509.Name(
            [
                x509.NameAttribute(x509.NameOID.USER_ID, APP),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Apple Push Services: {APP}"),
            ]
        )
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(since).not_valid_after(until)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        for oid, value in extensions:
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def pem_key(key, password=None, form=serialization.PrivateFormat.PKCS8):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def pem(made):
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


@pytest.fixture
def both(write, issuer, key):
    """A file with certificate and key, as ``openssl pkcs12 -nodes`` writes it: remarks before each block."""

    def make(*extensions, **dates):
        made = issuer.issue(key, extensions, **dates)
        remark = b"Bag Attributes\n    friendlyName: Apple Push Services\n"
        return {"certificate": write("push.pem", remark + pem(made) + remark + pem_key(key))}

    return make


def test_a_certificate_and_its_key_are_found_in_one_file_or_in_two(both, write, issuer, key):
    one = certificate.load(both())
    assert (one.file, one.key_file) == (one.file, one.file)
    assert one.expires == NOW + DAY
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        files = {
            "certificate": write("c.pem", pem(issuer.issue(key)) + pem(issuer.certificate)),
            "certificate_key": write("k.pem", pem_key(key, form=form)),
        }
        two = certificate.load(files)
        assert (str(two.file), str(two.key_file)) == (files["certificate"], files["certificate_key"])


def refused(credentials):
    with pytest.raises(CredentialsError) as caught:
        certificate.load(credentials)
    said = str(caught.value)
    assert "\n" not in said
    assert "PRIVATE KEY" not in said
    return said


def test_an_expired_certificate_is_told_with_its_date(both):
    said = refused(both(since=NOW - 9 * DAY, until=NOW - DAY))
    assert f"expired on {NOW - DAY:%Y-%m-%d %H:%M} UTC; make a new one at developer.apple.com" in said


def test_a_certificate_of_the_future_is_told_with_its_date(both):
    said = refused(both(since=NOW + DAY, until=NOW + 9 * DAY))
    assert f"is not valid before {NOW + DAY:%Y-%m-%d %H:%M} UTC; check this machine's clock" in said


def test_a_key_of_another_certificate_is_told(write, issuer, key):
    files = {
        "certificate": write("c.pem", pem(issuer.issue(key))),
        "certificate_key": write("k.pem", pem_key(ec.generate_private_key(ec.SECP256R1()))),
    }
    assert "credentials.certificate_key: the key in" in refused(files)
    assert "does not belong to the certificate" in refused(files)


def test_what_is_no_pem_is_told_with_the_command_that_makes_it_pem(write, issuer, key):
    made = issuer.issue(key)
    bag = pkcs12.serialize_key_and_certificates(b"x", key, made, None, serialization.NoEncryption())
    p12 = write("push.p12", bag)
    assert f"is a PKCS#12 file; convert it to PEM: openssl pkcs12 -legacy -nodes -in {p12} -out " in refused(
        {"certificate": p12}
    )
    der = write("aps.cer", made.public_bytes(serialization.Encoding.DER))
    assert f"is a DER certificate without its key; convert it to PEM: openssl x509 -inform der -in {der}" in refused(
        {"certificate": der}
    )


def test_every_other_mistake_names_the_field_and_the_remedy(write, issuer, key):
    alone = write("alone.pem", pem(issuer.issue(key)))
    locked = write("locked.pem", pem(issuer.issue(key)) + pem_key(key, b"secret"))
    old = serialization.PrivateFormat.TraditionalOpenSSL
    locked_old = write("locked-old.pem", pem(issuer.issue(key)) + pem_key(key, b"secret", old))
    text = write("text.pem", b"hello")
    damaged = write("damaged.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for credentials, words in [
        ({"certificate": ""}, "credentials.certificate: missing; it is the PEM file"),
        ({"certificate_key": alone}, "credentials.certificate: missing"),
        ({"certificate": "/nowhere.pem"}, 'credentials.certificate: file "/nowhere.pem" not found'),
        ({"certificate": text}, "holds no PEM certificate; convert a .p12 to PEM: openssl pkcs12"),
        ({"certificate": alone}, "holds no private key; add it to the file, or name its own file as certificate_key"),
        ({"certificate": alone, "certificate_key": text}, "credentials.certificate_key: "),
        ({"certificate": alone, "certificate_key": damaged}, "is damaged; export it from the keychain again"),
        ({"certificate": locked}, "is encrypted; remove its password: openssl pkey"),
        ({"certificate": locked_old}, "is encrypted; remove its password: openssl pkey"),
        ({"certificate": alone, "key_id": "ABCDE12345"}, "credentials.key_id: excludes certificate; give key, key_id"),
        ({"certificate": alone, "topic": "x"}, "credentials.topic: unknown; APNs takes certificate, certificate_key"),
    ]:
        assert words in refused(credentials)


def test_the_topics_of_a_certificate_are_its_limits(both):
    made = certificate.load(both((TOPICS, USUAL), (VOIP, topics_der(**{f"{APP}.voip": ["voip"]}))))
    assert made.objection("alert", APP) is None
    assert made.objection("background", APP) is None
    assert made.objection("voip", f"{APP}.voip") is None
    assert "not for the topic com.example.news.voip-ptt" in made.objection("pushtotalk", f"{APP}.voip-ptt")
    assert "not for the topic com.other" in made.objection("alert", "com.other")
    other = certificate.load(both((TOPICS, topics_der(**{APP: ["voip"]}))))
    assert other.objection("alert", APP) == f"the certificate allows voip for the topic {APP}, not app"


@pytest.mark.parametrize(
    "value",
    [b"", b"\x30", b"\x30\x05\x0c", b"\x05\x00", USUAL[:-1], b"\x30\x84\xff\xff\xff\xff", b"\x30\x04\x0c\x02\xff\xfe"],
)
def test_an_extension_that_cannot_be_read_forbids_nothing(both, value):
    made = certificate.load(both((TOPICS, value)))
    assert made.objection("voip", f"{APP}.voip") is None
    assert "only with a signing key" in made.objection("location", f"{APP}.location-query")


@pytest.fixture
async def strict_peer(start_peer, authority, issuer):
    """The scripted peer, which shuts the door on whoever shows no certificate of the issuer's."""
    strict = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(strict)
    strict.set_alpn_protocols(["h2"])
    strict.load_verify_locations(cadata=pem(issuer.certificate).decode())
    strict.verify_mode = ssl.CERT_REQUIRED
    return await start_peer(context=strict)


def settings(peer, credentials, **more):
    return TransportSettings(
        channel="c", platform="apns", app=APP, credentials=credentials, origin=peer.origin, ca=peer.ca, **more
    )


async def test_pushes_reach_a_server_that_demands_the_certificate(strict_peer, both, fast, make_batch, running):
    async with running(build(settings(strict_peer, both((TOPICS, USUAL))), **fast)) as transport:
        outcomes = await transport.send(make_batch(300))
        voip = Message(title="", body="", options={"apns": {"push_type": "voip"}})
        outcomes = await transport.send(make_batch(20, message=voip, campaign=8))
    assert (outcomes.delivered, outcomes.exceptions) == (20, [])
    assert len(strict_peer.seen) == 320
    assert all("authorization" not in seen.headers for seen in strict_peer.seen)
    assert {seen.headers["apns-topic"] for seen in strict_peer.seen} == {APP, f"{APP}.voip"}


async def test_a_server_that_demands_a_certificate_gets_nothing_without_one(
    strict_peer, apns_credentials, fast, make_batch, running
):
    async with running(build(settings(strict_peer, apns_credentials), **fast)) as transport:
        outcomes = await transport.send(replace(make_batch(5), begin_until=trio.current_time() + 0.5))
    assert outcomes.delivered == 0
    assert strict_peer.seen == []


async def test_a_push_that_the_certificate_does_not_allow_is_found_by_check(strict_peer, both, fast):
    transport = build(settings(strict_peer, both((TOPICS, USUAL))), **fast)
    transport.check(Message(title="t", body="b"))
    for kind, words in (("location", "only with a signing key"), ("widgets", "not for the topic")):
        message = Message(title="", body="", options={"apns": {"push_type": kind}})
        with pytest.raises(PayloadError, match=rf'^message.options.apns.push_type: "{kind}": .*{words}.*; use another'):
            transport.check(message)


async def test_an_answer_about_tokens_pauses_a_channel_without_one(
    strict_peer, both, fast, make_batch, running, reason
):
    strict_peer.answer = lambda seen: reason(403, "ExpiredProviderToken")
    async with running(build(settings(strict_peer, both()), **fast)) as transport:
        outcomes = await transport.send(make_batch(3))
    assert outcomes.stop is not None


async def test_channels_of_two_keys_and_a_certificate_work_side_by_side(
    strict_peer, peer, both, fast, make_batch, running, write, apns_credentials
):
    other = write("other.p8", pem_key(ec.generate_private_key(ec.SECP256R1())))
    second = {"key": other, "key_id": "ZYXWV98765", "team_id": "TEAM654321"}
    first_app = build(settings(peer, apns_credentials), **fast)
    second_app = build(replace(settings(peer, second), app="com.example.sport"), **fast)
    third_app = build(settings(strict_peer, both()), **fast)
    async with running(first_app), running(second_app), running(third_app):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for transport in (first_app, second_app, third_app):
                    nursery.start_soon(transport.send, make_batch(100))
    shown = {(seen.headers["apns-topic"], seen.headers["authorization"]) for seen in peer.seen}
    assert len(shown) == 2, "one token each, and its own"
    assert {topic for topic, _ in shown} == {APP, "com.example.sport"}
    assert dict(shown)[APP].encode() == first_app.shared.header()
    assert dict(shown)["com.example.sport"].encode() == second_app.shared.header()
    assert (len(peer.seen), len(strict_peer.seen)) == (600, 300)


async def test_a_warm_up_that_the_certificate_does_not_allow_is_refused_by_name(strict_peer, both, fast):
    credentials = both((TOPICS, topics_der(**{APP: ["voip"]})))
    with pytest.raises(CredentialsError, match=r"^warm_up: the certificate allows no background pushes; remove warm"):
        build(settings(strict_peer, credentials, warm_up="0f"), **fast)
