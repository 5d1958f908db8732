"""The unmodified azure-iot-hub REST client against the local hub: devices, twins, methods, SAS, errors."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator

import pytest
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from azure.iot.hub.sastoken import SasToken
from msrest.exceptions import ClientRequestError, HttpOperationError

from tests.hub_kit import KEY, OTHER_KEY, Kit, running_hub

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.12", tmp_path_factory.mktemp("hub")) as kit:
        yield kit


def refused(call: object, *args: object) -> tuple[int, dict[str, object], str]:
    """Status, the detail in IoT Hub's error body, and its error's name."""
    with pytest.raises(HttpOperationError) as caught:
        call(*args)  # type: ignore[operator]
    response = caught.value.response
    name, _, detail = response.json()["Message"].removeprefix("ErrorCode:").partition(";")
    assert response.headers["iothub-errorcode"] == name
    return response.status_code, json.loads(detail), name


def call(name: str = "identify", **options: object) -> CloudToDeviceMethod:
    return CloudToDeviceMethod(method_name=name, payload={}, **options)


def raw(kit: Kit, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    settings = kit.hub.settings
    context = ssl.create_default_context(cafile=str(kit.ca.file))
    connection = http.client.HTTPSConnection(settings.host, settings.rest_port, context=context, timeout=5)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def token(kit: Kit, *, host: str = "", key: str = KEY, policy: str = "owner", ttl: int = 60) -> dict[str, str]:
    settings = kit.hub.settings
    return {"Authorization": str(SasToken(host or f"{settings.host}:{settings.rest_port}", key, policy, ttl))}


def test_a_device_is_created_read_changed_and_removed(kit: Kit) -> None:
    rest, pair = kit.rest(), kit.ca.device("crud-1")
    made = rest.create_device_with_x509("crud-1", pair.thumbprint, None, "enabled")
    assert made.authentication.x509_thumbprint.primary_thumbprint == pair.thumbprint.upper()
    assert rest.get_device("crud-1").authentication.type == "selfSigned"
    assert "crud-1" in [device.device_id for device in rest.get_devices()]
    changed = rest.update_device_with_certificate_authority("crud-1", made.etag, "disabled")
    assert (changed.status, changed.authentication.type) == ("disabled", "certificateAuthority")
    assert changed.generation_id == made.generation_id
    assert refused(rest.update_device_with_certificate_authority, "crud-1", made.etag, "enabled")[0] == 412
    rest.delete_device("crud-1")
    assert refused(rest.get_device, "crud-1")[0] == 404


def test_a_device_that_exists_is_not_created_again(kit: Kit) -> None:
    rest = kit.rest()
    rest.create_device_with_certificate_authority("twice-1", "enabled")
    status, detail, name = refused(rest.create_device_with_certificate_authority, "twice-1", "enabled")
    assert (status, name, detail["errorCode"]) == (409, "DeviceAlreadyExists", 409001)


@pytest.mark.parametrize("thumbprint", ["", "zz", "A" * 40])
def test_a_thumbprint_that_is_no_sha256_makes_no_device(kit: Kit, thumbprint: str) -> None:
    rest = kit.rest()
    assert refused(rest.create_device_with_x509, "bad-print", thumbprint, None, "enabled")[0] == 400
    assert refused(rest.get_device, "bad-print")[0] == 404


def test_a_symmetric_key_makes_no_device(kit: Kit) -> None:
    assert refused(kit.rest().create_device_with_sas, "sas-1", KEY, KEY, "enabled")[0] == 400


def test_a_patch_merges_and_null_deletes(kit: Kit) -> None:
    rest = kit.rest()
    kit.enrol("merge-1")
    rest.update_twin("merge-1", Twin(properties=TwinProperties(desired={"everbeat": {"a": 1, "b": {"c": 2}}})))
    patch = {"everbeat": {"a": None, "b": {"d": [3, None]}}}
    twin = rest.update_twin("merge-1", Twin(tags={"ward": "7"}, properties=TwinProperties(desired=patch)))
    assert twin.properties.desired["everbeat"] == {"b": {"c": 2, "d": [3, None]}}
    assert twin.properties.desired["$version"] == 3
    assert twin.tags == {"ward": "7"}
    replaced = rest.replace_twin("merge-1", Twin(tags={}, properties=TwinProperties(desired={"x": 1})))
    assert {k: v for k, v in replaced.properties.desired.items() if not k.startswith("$")} == {"x": 1}
    assert refused(rest.update_twin, "merge-1", Twin(tags={"ward": "8"}), twin.etag)[0] == 412


@pytest.mark.parametrize(
    "desired",
    [{"big": "x" * 33_000}, {"a.b": 1}, {"$x": 1}, json.loads('{"a":' * 11 + "1" + "}" * 11)],
    ids=["too large", "dot in a key", "dollar in a key", "too deep"],
)  # fmt: skip
def test_a_patch_beyond_the_limits_changes_nothing(kit: Kit, desired: dict[str, object]) -> None:
    rest = kit.rest()
    kit.enrol("limits-1")
    before = rest.get_twin("limits-1").version
    assert refused(rest.update_twin, "limits-1", Twin(properties=TwinProperties(desired=desired)))[0] == 400
    assert rest.get_twin("limits-1").version == before


def test_twins_and_devices_outlive_the_hub(kit: Kit) -> None:
    rest = kit.rest()
    kit.enrol("persist-1")
    rest.update_twin("persist-1", Twin(properties=TwinProperties(desired={"kept": True})))
    kit.hub.stop()
    kit.hub.start()
    assert kit.rest().get_twin("persist-1").properties.desired["kept"] is True


def test_a_wrong_key_is_unauthorized(kit: Kit) -> None:
    kit.enrol("known-1")
    rest = kit.rest(key=OTHER_KEY)
    for attempt in (rest.get_twin, rest.get_device):
        status, _, name = refused(attempt, "known-1")
        assert (status, name) == (401, "IotHubUnauthorizedAccess")


def test_a_policy_allows_what_it_allows_and_no_more(kit: Kit) -> None:
    kit.enrol("rights-1")
    service, reader = kit.rest(policy="service"), kit.rest(policy="reader")
    assert service.get_twin("rights-1").device_id == "rights-1"
    assert refused(service.get_device, "rights-1")[0] == 401
    assert reader.get_device("rights-1").device_id == "rights-1"
    assert refused(reader.get_twin, "rights-1")[0] == 401
    assert refused(reader.delete_device, "rights-1")[0] == 401
    assert refused(kit.rest(policy="unknown").get_twin, "rights-1")[0] == 401


def test_tokens_that_are_expired_foreign_or_no_tokens_are_unauthorized(kit: Kit) -> None:
    kit.enrol("tokens-1")
    assert raw(kit, "GET", "/twins/tokens-1", **token(kit))[0] == 200
    assert raw(kit, "GET", "/twins/tokens-1", **token(kit, ttl=-1))[0] == 401
    assert raw(kit, "GET", "/twins/tokens-1", **token(kit, host="another.azure-devices.net"))[0] == 401
    for text in ("", "Bearer x", "SharedAccessSignature", "SharedAccessSignature sr=a&sig=%&se=x&skn=owner",
                 "SharedAccessSignature " + "&" * 3000):  # fmt: skip
        assert raw(kit, "GET", "/twins/tokens-1", Authorization=text)[0] == 401
    assert raw(kit, "GET", "/twins/tokens-1")[0] == 401


def test_a_token_for_one_device_reads_no_other(kit: Kit) -> None:
    kit.enrol("scope-1")
    kit.enrol("scope-10")
    narrow = token(kit, host=f"{kit.host}/twins/scope-1")
    assert raw(kit, "GET", "/twins/scope-1", **narrow)[0] == 200
    assert raw(kit, "GET", "/twins/scope-10", **narrow)[0] == 401


def test_an_unknown_device_is_not_found(kit: Kit) -> None:
    rest = kit.rest()
    for attempt in (rest.get_twin, rest.get_device, rest.delete_device):
        status, detail, name = refused(attempt, "nobody")
        assert (status, name, detail["errorCode"]) == (404, "DeviceNotFound", 404001)
    assert refused(rest.invoke_device_method, "nobody", call())[0] == 404
    assert refused(rest.update_twin, "nobody", Twin(tags={}))[0] == 404


def test_a_method_for_a_device_that_is_away_is_not_found_as_in_iot_hub(kit: Kit) -> None:
    kit.enrol("offline-1")
    status, detail, name = refused(kit.rest().invoke_device_method, "offline-1", call())
    assert (status, name, detail["errorCode"]) == (404, "DeviceNotOnline", 404103)


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", "nothing"), (b"[]", "a list"), (b'{"methodName": 3}', "a number"), (b'{"methodName": "a\\nb"}', "a line"),
     (b'{"methodName":"x","responseTimeoutInSeconds":1}', "too short"), (b"[" * 100_000, "too deep")],
)  # fmt: skip
def test_a_malformed_call_is_a_bad_request(kit: Kit, body: bytes, why: str) -> None:
    kit.enrol("malformed-1")
    assert raw(kit, "POST", "/twins/malformed-1/methods", body, **token(kit))[0] == 400, why


def test_what_is_no_request_of_ours_is_not_found_and_what_is_too_large_is_refused(kit: Kit) -> None:
    kit.enrol("paths-1")
    assert raw(kit, "GET", "/", **token(kit))[0] == 404
    assert raw(kit, "PATCH", "/devices/paths-1", b"{}", **token(kit))[0] == 404
    assert raw(kit, "GET", "/twins/paths-1/../../devices", **token(kit))[0] == 404
    assert raw(kit, "PATCH", "/twins/paths-1", b"x" * 300_000, **token(kit))[0] == 413


def test_a_client_that_does_not_know_the_ca_does_not_speak_to_the_hub(kit: Kit) -> None:
    rest = kit.rest()
    rest.protocol.config.connection.verify = True
    rest.protocol.config.retry_policy.retries = 0
    with pytest.raises(ClientRequestError, match="certificate verify failed"):
        rest.get_devices()


def test_the_ca_may_also_come_from_the_environment(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(kit.ca.file))
    rest = kit.rest()
    rest.protocol.config.connection.verify = True
    assert isinstance(rest.get_devices(), list)


def test_one_connection_serves_request_after_request(kit: Kit) -> None:
    settings = kit.hub.settings
    context = ssl.create_default_context(cafile=str(kit.ca.file))
    connection = http.client.HTTPSConnection(settings.host, settings.rest_port, context=context, timeout=5)
    start = time.perf_counter()
    for _ in range(50):
        connection.request("GET", "/devices", headers=token(kit))
        assert connection.getresponse().read()
    assert time.perf_counter() - start < 5
