"""Every mistake in broadside.toml is one line that names the key, the value and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import certifi
import pytest

from broadside.config.config import Channel, Config, Demo, load
from broadside.config.network import Network
from broadside.config.receipt_table import ReceiptTable
from broadside.config.tarantool import OwnQueue, ServerConfig
from broadside.demo.demo_config import demo_config, load_or_demo
from broadside.errors import ConfigError, shown
from transports import registry

KNOWN = ", ".join(registry.platforms())
EXAMPLE = Path(__file__).parents[2] / "broadside.example.toml"
CHANNEL = """
[channels.ios]
platform = "apns"
app = "com.example.news"
"""
APNS = CHANNEL + 'credentials = { key = "AuthKey.p8", key_id = "ABC123DEFG", team_id = "DEF123GHIJ" }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("AuthKey.p8", "sa.json", "secret", "open"):
        path = tmp_path / name
        path.write_text("pa ss\n")
        path.chmod(0o644 if name == "open" else 0o600)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "empty").chmod(0o600)
    (tmp_path / "sub").mkdir()
    (tmp_path / "ca.pem").write_text("x")
    return tmp_path


def read(folder: Path, text: str | bytes) -> Config:
    path = folder / "broadside.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path)


def credentials(**fields: str) -> str:
    table = {"key": "AuthKey.p8", "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ"} | fields
    return CHANNEL + "credentials = { " + ", ".join(f'{k} = "{v}"' for k, v in table.items() if v) + " }\n"


def certificate(**fields: str) -> str:
    table = {"certificate": "secret"} | fields
    return CHANNEL + "credentials = { " + ", ".join(f'{k} = "{v}"' for k, v in table.items() if v) + " }\n"


STORE = APNS + '[store]\nuri = "10.0.0.5:3301"\n'
OWN_QUEUE = STORE + 'password_file = "secret"\n[queue]\nembedded = true\n'
OPEN_QUEUE = OWN_QUEUE + 'listen = "10.0.0.5:3302"\npeers_password_file = "secret"\n'

TWIN = '[channels.ios]\nplatform = "fcm"\napp = "news-1"\ntwin = true\n'

# what is written, and what the one line must say: key, value or fault, remedy
MISTAKES = {
    "a queue open to everybody": (
        OPEN_QUEUE,
        "queue.hosts: is missing, and 10.0.0.5:3302 can be reached from other machines: anybody who connects may run",
    ),
    "versions that are none": (
        TWIN + 'android_v2 = ">=five"\n',
        'channels.ios.android_v2: ">=five" is no bound of a version (true, false, or versions of the app in quotes',
    ),
    "a number for versions": (
        TWIN + "android_v2 = 5.0\n",
        "channels.ios.android_v2: 5.0 is not true or false (true, false, or versions of the app in quotes",
    ),
    "a quiet channel for iPhones": (
        APNS.replace("app =", 'quiet_channel = "quiet"\napp ='),
        "channels.ios.quiet_channel: has no use on apns (remove it: it is for fcm, rustore)",
    ),
    "devices that there are not": (
        TWIN + 'devices = ["android", "iphone"]\n',
        'channels.ios.devices: unknown device "iphone" (known: android, ios, web)',
    ),
    "push services of iPhones": (
        APNS.replace("app =", 'push_services = ["push.example.com"]\napp ='),
        "channels.ios.push_services: has no use on apns (remove it: it is for webpush)",
    ),
    "a push service with its scheme": (
        TWIN + 'push_services = ["https://push.example.com"]\n',
        "channels.ios.push_services",
    ),
    "devices of iPhones": (
        APNS.replace("app =", 'devices = ["ios"]\napp ='),
        "channels.ios.devices: has no use on apns (remove it: it is for fcm)",
    ),
    "five slots": (
        APNS.replace("app =", 'collapse_slots = ["a", "b", "c", "d", "e"]\napp ='),
        "channels.ios.collapse_slots: ",
    ),
    "a name among the hosts": (
        OPEN_QUEUE + 'hosts = ["node-2"]\n',
        'queue.hosts: "node-2" is not an address (addresses or',
    ),
    "a module that is none of the two": (
        APNS + '[queue]\nmodule = "rocks"\n',
        'queue.module: "rocks" is unknown (bundled (Broadside\'s own tubes), or rock',
    ),
    "the module of another server": (
        APNS + '[queue]\nuri = "10.0.0.5:3301"\npassword_file = "secret"\nmodule = "rock"\n',
        "queue.module: belongs in the settings of the server at uri (write queue_module: rock there",
    ),
    "hosts of nothing": (OWN_QUEUE + 'hosts = ["10.0.0.6"]\n', "queue.hosts: has no use without listen (remove it"),
    "a peer that may not come": (
        OPEN_QUEUE + 'hosts = ["10.0.0.7"]\n[[peers]]\nname = "b"\nuri = "10.0.0.6:3302"\npassword_file = "secret"\n',
        "peers[0].uri: 10.0.0.6 is not among queue.hosts, so this node would refuse its batons (add it there)",
    ),
    "an unknown section": (APNS + "[nod]\n", 'nod: unknown key (did you mean "node"?)'),
    "an unknown key": (APNS + "[node]\nworker = 2\n", 'node.worker: unknown key (did you mean "workers"?)'),
    "figures at the API's port": (
        APNS + '[http]\nbind = "127.0.0.1:8765"\nmetrics_bind = "0.0.0.0:8765"\n',
        'http.metrics_bind: "0.0.0.0:8765" has the port of the API itself (write another host:port',
    ),
    "a proxy that is not named": (
        APNS + '[http]\nbind = "0.0.0.0:8765"\nbehind_proxy = true\n',
        "http.proxies: is missing, and 0.0.0.0:8765 can be reached from other machines: they could pass the proxy by",
    ),
    "a proxy's name": (
        APNS + '[http]\nbind = "0.0.0.0:8765"\nbehind_proxy = true\nproxies = ["proxy-1"]\n',
        'http.proxies: "proxy-1" is not an address (addresses or networks, as in proxies = ["10.0.0.7"]; names are not',
    ),
    "proxies without a proxy": (
        APNS + '[http]\nproxies = ["10.0.0.7"]\n',
        "http.proxies: has no use without behind_proxy (remove it",
    ),
    "figures at no address": (
        APNS + '[http]\nmetrics_bind = "9765"\n',
        'http.metrics_bind: "9765" is not an address (write another host:port',
    ),
    "a number for an address": (
        APNS + "[http]\nmetrics_bind = 9765\n",
        "http.metrics_bind: 9765 is not text in quotes (write another host:port",
    ),
    "an unknown key far from all": (APNS + "[http]\nzzz = 2\n", "http.zzz: unknown key (known here: behind_proxy,"),
    "text for a number": (
        APNS + '[node]\nworkers = "two"\n',
        'node.workers: "two" is not a whole number (leave it out',
    ),
    "a boolean for a number": (APNS + "[node]\nworkers = true\n", "node.workers: true is not a whole number"),
    "a number for a path": (APNS + "[node]\ndata = 7\n", "node.data: 7 is not text in quotes"),
    "no worker": (APNS + "[node]\nworkers = 0\n", "node.workers: 0 is out of range, must be >= 1"),
    "a bad node name": (APNS + '[node]\nname = "Node 1"\n', 'node.name: "Node 1" cannot be a name (1 to 32'),
    "a file as data folder": (APNS + '[node]\ndata = "secret"\n', "is not a folder (name a folder)"),
    "a section that is no table": ("node = 3\n" + APNS, "node: 3 where a table belongs (write it as [node])"),
    "no channel": ("[node]\n", "channels: there is none, so nothing can be sent (as in [channels.ios-news]"),
    "an empty channels table": ("[channels]\n", "channels: there is none, so nothing can be sent"),
    "a bad channel name": (APNS.replace("ios", "iOS"), 'channels.iOS: "iOS" cannot be a channel\'s name'),
    "an unknown platform": (APNS.replace('"apns"', '"apple"'), f'unknown platform "apple" (known: {KNOWN})'),
    "no platform": ('[channels.ios]\napp = "a"\n', 'channels.ios.platform: is missing (as in platform = "apns")'),
    "an empty app": (APNS.replace("com.example.news", ""), 'channels.ios.app: "" is not an app id'),
    "rate zero": (APNS + "rate = 0\n", "channels.ios.rate: 0 is out of range, must be > 0 (pushes a second"),
    "a negative rate": (APNS + "rate = -1.5\n", "channels.ios.rate: -1.5 is out of range, must be > 0"),
    "too many connections": (
        APNS + "connections = 1025\n",
        "channels.ios.connections: 1025 is out of range, must be <= 1024",
    ),
    "a key file that is not there": (
        credentials(key="Auth.p8"),
        'channels.ios.credentials.key: file "Auth.p8" not found (paths are relative to broadside.toml)',
    ),
    "a key file open to all": (credentials(key="open"), 'file "open" is secret but open to every user (chmod 600 '),
    "a folder as key": (credentials(key="sub"), 'credentials.key: "sub" is not a file'),
    "the key itself": (credentials(key="-----BEGIN PRIVATE KEY"), "credentials.key: is the secret itself (put it"),
    "no team": (credentials(team_id=""), "channels.ios.credentials.team_id: is missing (apns needs it: your team's"),
    "a short key id": (credentials(key_id="ABC"), 'credentials.key_id: "ABC" is not 10 letters and digits'),
    "a key and a certificate": (
        credentials(certificate="secret"),
        "channels.ios.credentials: has key and certificate (give either key and key_id and team_id, or certificate)",
    ),
    "half a key and a certificate": (
        certificate(key_id="ABC123DEFG"),
        "channels.ios.credentials: has key_id and certificate (give either key",
    ),
    "a certificate that is not there": (certificate(certificate="x.pem"), 'credentials.certificate: file "x.pem" not'),
    "a certificate with its key open to all": (certificate(certificate="open"), 'file "open" is secret but open to'),
    "a certificate's key open to all": (certificate(certificate_key="open"), "credentials.certificate_key: file"),
    "a certificate's key that is not there": (
        certificate(certificate_key="x.pem"),
        'credentials.certificate_key: file "x.pem" not found',
    ),
    "a certificate's key alone": (
        certificate(certificate="", certificate_key="secret"),
        "channels.ios.credentials.certificate: is missing (apns needs it: the PEM file",
    ),
    "the certificate itself": (certificate(certificate="-----BEGIN CERT"), "certificate: is the secret itself"),
    "an unknown environment": (credentials(environment="prod"), 'unknown environment "prod" (production or sandbox)'),
    "an unknown credential": (credentials(keyid="A"), 'credentials.keyid: unknown key (did you mean "key_id"?)'),
    "a number as credential": (
        CHANNEL + 'credentials = { key = "AuthKey.p8", key_id = 1, team_id = "DEF123GHIJ" }\n',
        "channels.ios.credentials.key_id: 1 is not text in quotes",
    ),
    "no service account": (
        '[channels.a]\nplatform = "fcm"\napp = "p"\ncredentials = { service_account = "no.json" }\n',
        'channels.a.credentials.service_account: file "no.json" not found',
    ),
    "an origin without TLS": (
        credentials() + 'origin = "http://x"\n',
        'channels.ios.origin: "http://x" is not an origin',
    ),
    "an origin for a twin": (CHANNEL + 'twin = true\norigin = "https://x"\n', "origin: has no use beside twin = true"),
    "neither credentials nor a twin": (
        CHANNEL,
        "channels.ios.credentials: are missing (give the provider's, or set twin =",
    ),
    "both credentials and a twin": (APNS + "twin = true\n", "channels.ios.twin: true beside credentials (remove twin"),
    "a twin beside a shared store": (
        CHANNEL + 'twin = true\n[store]\nuri = "10.0.0.5:3301"\npassword_file = "secret"\n',
        "channels.ios.twin: true beside [store]: the phones of a shared base would get nothing",
    ),
    "text for a twin": (CHANNEL + 'twin = "yes"\n', 'channels.ios.twin: "yes" is not true or false'),
    "no ca": (credentials() + 'origin = "https://x"\nca = "no.pem"\n', 'channels.ios.ca: file "no.pem" not found'),
    "a bind without port": (APNS + '[http]\nbind = "localhost"\n', 'http.bind: "localhost" is not an address'),
    "a port out of range": (APNS + '[http]\nbind = "127.0.0.1:99999"\n', "is not an address (write host:port"),
    "a public bind": (
        APNS + '[http]\nbind = "0.0.0.0:80"\n',
        'http.bind: "0.0.0.0:80" can be reached from other machines, and keys would cross the network in the clear (',
    ),
    "half of TLS": (APNS + '[http]\ncertificate = "ca.pem"\n', "http.private_key: is missing (give both files"),
    "a private key for all": (
        APNS + '[http]\ncertificate = "ca.pem"\nprivate_key = "open"\n',
        'http.private_key: file "open" is secret but open to every user (chmod 600',
    ),
    "a name with a port": (
        APNS + '[http]\nnames = ["push.example:443"]\n',
        'http.names[0]: "push.example:443" is not a host name (a host name without a port',
    ),
    "no period": (APNS + "[supervision]\nperiod = 0\n", "supervision.period: 0 is out of range, must be > 0"),
    "a zone that is none": (
        APNS + '[newsroom]\nzone = "../../etc/passwd"\n',
        'newsroom.zone: "../../etc/passwd" is not a time zone (an IANA time zone, as in',
    ),
    "a zone that is a number": (APNS + "[newsroom]\nzone = 1\n", "newsroom.zone: "),
    "a share above one": (APNS + "[demo]\ndead_share = 2\n", "demo.dead_share: 2 is out of range, must be <= 1"),
    "a password as value": (
        STORE + 'password = "hunter2"\npassword_file = "secret"\n',
        "store.password: a secret does not belong in the configuration (put it into a file of mode 0600",
    ),
    "no password": (STORE, "store: has no password (give either password_file"),
    "two passwords": (STORE + 'password_file = "secret"\npassword_env = "PATH"\n', "store: has both password_file and"),
    "a variable that is not set": (
        STORE + 'password_env = "BROADSIDE_NOT_SET"\n',
        'store.password_env: environment variable "BROADSIDE_NOT_SET" is not set (export it',
    ),
    "an empty password file": (
        STORE + 'password_file = "empty"\n',
        'store.password_file: file "empty" is empty (write',
    ),
    "a password file that is not there": (STORE + 'password_file = "x"\n', 'store.password_file: file "'),
    "no uri": (APNS + '[store]\npassword_file = "secret"\n', "store.uri: is missing (as in uri ="),
    "a uri that is a path": (
        STORE.replace("10.0.0.5:3301", "/run/t.sock") + 'password_file = "secret"\n',
        'store.uri: "/run/t.sock" is not an address (write "host:port" or "unix/:/absolute/path.sock"',
    ),
    "an own queue without a store": (
        APNS + "[queue]\nembedded = true\n",
        "queue.embedded: there is no [store], so the node's own Tarantool is its queue already (remove [queue]",
    ),
    "an own queue that is none": (OWN_QUEUE.replace("true", "false"), "queue.embedded: cannot be false (give a uri"),
    "an own queue that listens to anybody": (
        OWN_QUEUE + 'listen = "10.0.0.5:3302"\nhosts = ["10.0.0.6"]\n',
        "queue: listen and peers_password_file belong together",
    ),
    "an own queue that listens nowhere": (
        OWN_QUEUE + 'listen = "3302"\nhosts = ["10.0.0.6"]\npeers_password_file = "secret"\n',
        'queue.listen: "3302" is not an address',
    ),
    "an own queue with a uri": (OWN_QUEUE + 'uri = "h:1"\n', "queue.uri: unknown key"),
    "a peers' password open to all": (
        OWN_QUEUE + 'listen = "h:1"\nhosts = ["10.0.0.6"]\npeers_password_file = "open"\n',
        'queue.peers_password_file: file "',
    ),
    "a replica that is no address": (
        STORE + 'password_file = "secret"\nreplica = "x"\n',
        'store.replica: "x" is not an address',
    ),
    "a second store that is no address": (
        STORE + 'password_file = "secret"\nothers = ["h:1", "y"]\n',
        'store.others[1]: "y" is not an address',
    ),
    "peers that are no array": ("peers = 3\n" + APNS, "peers: 3 where an array belongs (write each peer as [[peers]])"),
    "a peer of our own name": (
        APNS + '[[peers]]\nname = "node-1"\nuri = "h:1"\npassword_file = "secret"\n',
        'peers[0].name: "node-1" is this node\'s own name (every node needs a name of its own)',
    ),
    "bad syntax": ("[node\nname = 1\n", "line 1, column 6: expected ']' at the end"),
    "a key twice": ("[node]\nname = 'a'\nname = 'b'\n", "line 3, column 11: cannot overwrite a value"),
    "text that never ends": ('[node]\nname = "a', " at its end: unterminated string"),
    "a Windows path": (  # E7: "invalid hex value", and no word of the backslash
        credentials(key="C:\\Users\\ada\\AuthKey.p8"),
        "line 5, column 28: invalid hex value (in double quotes a backslash begins an escape: write a path with / or",
    ),
    "a Windows path with a dot": (
        credentials(key="C:\\data\\AuthKey.p8"),
        "(in double quotes a backslash begins an escape",
    ),
    "arrays within arrays": (  # S23: unexpected RecursionError
        f"[node]\nname = {'[' * 20_000}{']' * 20_000}\n",
        "arrays or tables are nested too deeply (no key of broadside.toml needs more than two levels)",
    ),
    "a file of a user who is not there": (  # S23: unexpected RuntimeError
        credentials(key="~nosuchuser/AuthKey.p8"),
        'credentials.key: "~nosuchuser/AuthKey.p8": ~nosuchuser has no home folder here; write the whole path (',
    ),
    "a folder of a user who is not there": (
        APNS + '[node]\ndata = "~nosuchuser/var"\n',
        'node.data: "~nosuchuser/var": ~nosuchuser has no home folder here; write the whole path (',
    ),
    "more memory than there is": (  # S23: Tarantool failed at its start, with words about mmap
        APNS + '[node]\nmemory = "999999 GB"\n',
        'node.memory: "999999 GB" is more than the ',
    ),
    "bytes that are no UTF-8": (b'[node]\nname = "\xff"\n', "line 2: byte 0xff is not UTF-8 (save the file as UTF-8)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_remedy(folder: Path, name: str) -> None:
    text, expected = MISTAKES[name]
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("configuration: ")
    assert expected in message
    assert message.endswith(")")  # the remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("ours", [True, False], ids=["that we can close", "that an engine mounts"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_secret_that_is_open_to_all_is_refused_only_where_it_can_be_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ours: bool, trusted: bool
) -> None:
    """E1: Docker and Kubernetes mount secrets as 0444, read-only, and chmod is impossible there."""
    monkeypatch.setattr("broadside.config.strict_toml.os.access", lambda path, mode: ours)
    text = credentials(key="open") + ("[node]\ntrust_file_modes = true\n" if trusted else "")
    (folder / "broadside.toml").write_text(text)
    if ours and not trusted:
        with pytest.raises(
            ConfigError, match=r'file "open" is secret but open to every user \(chmod 600 .*trust_file_modes'
        ):
            load(folder / "broadside.toml")
        return
    found = load(folder / "broadside.toml").warnings
    assert found == (() if trusted else ('channels.ios.credentials.key: file "open" is open to every user',))


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    text = '[node]\nworkers = 0\nnam = "x"\n[http]\nbind = "0.0.0.0:1"\n'
    text += '[channels.A]\nplatform = "x"\napp = "y"\nrate = 0\n'
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    keys = {problem.where for problem in caught.value.problems}
    assert keys == {"node.workers", "node.nam", "http.bind", "channels.A", "channels.A.rate"}
    assert len(str(caught.value).splitlines()) == len(keys)


def test_a_secret_in_the_wrong_place_is_not_repeated(folder: Path) -> None:
    for text in (STORE + 'password = "hunter2"\n', credentials(key="-----BEGIN hunter2")):
        with pytest.raises(ConfigError) as caught:
            read(folder, text)
        assert "hunter2" not in str(caught.value)


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file \(copy broadside.example.toml"):
        load(tmp_path / "none.toml")


def test_sample_phones_are_never_fired_at_through_real_credentials(folder: Path) -> None:
    (folder / "k.p8").write_text("x")
    (folder / "k.p8").chmod(0o600)
    real = (
        '[channels.ios]\nplatform = "apns"\napp = "a.b"\n'
        'credentials = { key = "k.p8", key_id = "ABC123DEFG", team_id = "DEF123GHIJ" }\n[demo]\n'
    )
    with pytest.raises(ConfigError, match="demo: would fire at sample phones"):
        read(folder, real)
    assert read(
        folder, '[channels.ios]\nplatform = "apns"\napp = "a.b"\ntwin = true\n[demo]\nsubscribers = 5\n'
    ).demo == Demo(subscribers=5)


def test_pushes_go_to_a_twin_only_where_a_person_says_so(folder: Path) -> None:
    """C9: a table of credentials that was forgotten is an error, not a campaign that reaches nobody."""
    with pytest.raises(ConfigError, match="credentials: are missing"):
        read(folder, CHANNEL)
    assert read(folder, CHANNEL + "twin = true\n").channels["ios"].twin
    assert not read(folder, APNS).channels["ios"].twin
    shared = '[store]\nuri = "10.0.0.5:3301"\npassword_file = "secret"\n'
    assert read(folder, CHANNEL + "twin = true\n[demo]\n" + shared).channels["ios"].twin, "a ring that is a trial"


def test_without_a_file_it_is_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_or_demo()
    assert config == demo_config()
    assert config.source is None
    assert config.node.data == tmp_path / "var"
    assert config.channels == {
        "ios-news": Channel(platform="apns", app="com.example.news", twin=True),
        "android-news": Channel(platform="fcm", app="example-news", twin=True),
    }
    assert all(channel.twin for channel in config.channels.values())


def test_the_file_in_the_current_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "broadside.toml").write_text(APNS)
    assert load_or_demo().source == folder / "broadside.toml"


def test_paths_are_made_absolute_beside_the_file(folder: Path) -> None:
    config = read(folder, credentials() + STORE.partition("[store]")[2].join(["[store]", 'password_file = "secret"\n']))
    assert config.node.data == folder / "var"
    assert config.channels["ios"].credentials["key"] == str(folder / "AuthKey.p8")
    assert config.store is not None
    assert config.store.address == ("10.0.0.5", 3301)
    assert config.store.password() == "pa ss"


def test_a_certificates_files_are_made_absolute_too(folder: Path) -> None:
    config = read(folder, certificate(certificate="open", certificate_key="secret", environment="sandbox"))
    assert config.channels["ios"].credentials == {
        "certificate": str(folder / "open"),
        "certificate_key": str(folder / "secret"),
        "environment": "sandbox",
    }


def test_a_password_comes_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADSIDE_TEST_PASSWORD", "s3")
    config = read(folder, APNS + '[queue]\nuri = "unix/:/run/q.sock"\npassword_env = "BROADSIDE_TEST_PASSWORD"\n')
    assert isinstance(config.queue, ServerConfig)
    assert config.queue.password() == "s3"
    assert config.queue.address == Path("/run/q.sock")


def test_a_queue_with_a_module_alone_is_the_nodes_own(folder: Path) -> None:
    """E9."""
    config = read(folder, APNS + '[queue]\nmodule = "rock"\n')
    assert (config.queue, config.queue_module) == (None, "rock")
    own = read(folder, OWN_QUEUE + 'module = "rock"\n')
    assert (isinstance(own.queue, OwnQueue), own.queue_module) == (True, "rock")
    assert read(folder, APNS).queue_module == "bundled"


def test_a_node_may_run_its_own_queue_beside_a_shared_store(folder: Path) -> None:
    text = OWN_QUEUE + 'listen = "10.0.0.6:3302"\nhosts = ["10.0.0.0/24"]\npeers_password_file = "secret"\n'
    config = read(folder, text + '[[peers]]\nname = "b"\nuri = "h:1"\npassword_file = "secret"\n')
    assert isinstance(config.queue, OwnQueue)
    assert config.queue.peers_password() == "pa ss"
    assert config.peers[0].user == "peer", "the least that a neighbour needs"


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:8765", "localhost:80", "127.8.9.1:1"])
def test_loopback_is_bound(folder: Path, bind: str) -> None:
    assert read(folder, APNS + f'[http]\nbind = "{bind}"\n').http.address[1] == int(bind.rpartition(":")[2])


def test_the_example_is_right_and_shows_every_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADSIDE_QUEUE_PASSWORD", "x")
    text = EXAMPLE.read_text()
    (folder / "secrets").mkdir()
    for name in set(re.findall(r'"(secrets/[^"]+)"', text)):
        (folder / name).write_text(certifi.contents() if name.endswith("-ca.pem") else "x" * 32)
        (folder / name).chmod(0o600)
    config = read(folder, text)
    written = set(re.findall(r"^(?:# )?(\w+) = ", text, re.M))
    assert isinstance(config.queue, OwnQueue)
    sections = (
        config.node,
        config.http,
        config.newsroom,
        config.store,
        config.queue,
        config.peers[0],
        config.supervision,
        config.herd,
        config.hooks[0],
        config.webhooks[0],
    )
    for table in (*sections, Demo(), Network()):
        assert table is not None
        assert set(table.__struct_fields__) <= written
    assert set(ReceiptTable.__struct_fields__) <= written
    assert config.receipts is not None
    assert {"android_app", "token", "expires"} == {
        name for channel in config.channels.values() for name in channel.delivery
    }
    assert set(Channel.__struct_fields__) <= written | {"credentials", "delivery"}
    assert Config().supervision == config.supervision
    assert config.demo is None
    assert (Config().newsroom.zone, config.newsroom.zone) == (None, "Europe/Vienna")
    assert Config().http == config.http


def test_a_value_is_shown_on_one_line() -> None:
    assert shown("a\nb\x1b[31m") == r'"a\nb\x1b[31m"'
    assert shown("x" * 100) == '"' + "x" * 59 + '…"'
    assert shown(False) == "false"
    assert shown({"a": 1}) == "a table"


def test_a_byte_order_mark_in_a_file_is_no_mistake(folder: Path) -> None:
    """E4: the mark of an editor on Windows was "invalid statement", line 1, column 1."""
    assert read(folder, b"\xef\xbb\xbf" + APNS.encode()).channels["ios"].app == "com.example.news"
    (folder / "secret").write_bytes(b"\xef\xbb\xbfpa ss\r\n")
    store = read(folder, STORE + 'password_file = "secret"\n').store
    assert store is not None
    assert store.password() == "pa ss"


def test_the_variables_that_hold_passwords_are_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S23: children inherited them."""
    for name in ("IN_STORE", "IN_QUEUE", "IN_PEER"):
        monkeypatch.setenv(name, "x")
    text = STORE + 'password_env = "IN_STORE"\n[queue]\nuri = "h:1"\npassword_env = "IN_QUEUE"\n'
    text += '[[peers]]\nname = "node-2"\nuri = "h:2"\npassword_env = "IN_PEER"\n'
    assert read(folder, text).secret_variables() == {"IN_STORE", "IN_QUEUE", "IN_PEER"}
